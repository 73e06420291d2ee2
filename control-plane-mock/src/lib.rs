//! A control plane to develop and test against: it takes what daemons post, judges it by
//! `openapi/control-plane-callbacks.yaml`, keeps a journal, and misbehaves exactly as it is told to.
//!
//! It must never be kinder than the document: what breaks a rule is in [`Mock::violations`], whatever was answered. A message
//! counts as accepted at one call at most, so that "exactly once" can be counted.
//!
//! Data moves in one direction: a request is matched to an operation (`route`), judged (`document`), matched to the script
//! (`rules`), recorded (`journal`), and answered or sabotaged (`server`).
//!
//! ```no_run
//! use control_plane_mock::{Action, Kind, Mock, Options, Rule};
//! use std::time::Duration;
//!
//! let mock = Mock::start(Options::default()).unwrap();
//! mock.script(Rule::new(Action::Reset).of_kind(Kind::Result).times(2));
//! // … start a daemon with CONTROL_PLANE_URL = mock.url() …
//! let accepted = mock.wait_for(Duration::from_secs(30), |calls| {
//!     calls.iter().find(|call| call.kind == Kind::Result && call.accepted).cloned()
//! });
//! assert!(accepted.is_some());
//! assert_eq!(mock.violations(), Vec::<String>::new());
//! ```

mod options;
mod route;
mod document;
mod rules;
mod call;
mod journal;
mod server;
mod mock;

pub use call::{Answer, Call, ExecutionView, How};
pub use mock::Mock;
pub use options::{Options, Printer};
pub use route::Kind;
pub use rules::{Action, BadRule, Matches, Rule};
