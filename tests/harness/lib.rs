//! What every conformance test shares.
