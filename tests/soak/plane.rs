//! The control plane of these tests.

use std::collections::BTreeMap;
use std::time::Duration;

use conformance::INTERNAL_TOKEN;
use control_plane_mock::{Action, Call, Kind, Mock, Options, Rule};

/// One that wants the token which daemons under test have.
pub(crate) fn mock() -> Mock {
    Mock::start(Options { token: Some(INTERNAL_TOKEN.to_owned()), ..Options::default() }).unwrap()
}

/// Each of these for this share of all calls about results; the rest is answered plainly.
pub(crate) fn fail(mock: &Mock, seed: u64, shares: Vec<(f64, Action)>) {
    let mut left = 1.0;
    for (number, (share, action)) in (0_u64..).zip(shares) {
        // A rule only sees what the rules before it did not draw.
        let rule =
            Rule::new(action).of_kind(Kind::Result).with_probability(share / left, seed ^ (number << 32));
        mock.script(rule);
        left -= share;
    }
}

pub(crate) fn status(code: u16) -> Action {
    Action::Status { code, headers: BTreeMap::new(), body: String::new() }
}

/// 503 with `Retry-After: 1`.
pub(crate) fn come_back() -> Action {
    let headers = [("retry-after".to_owned(), "1".to_owned())].into();
    Action::Status { code: 503, headers, body: String::new() }
}

/// The journal as it is now. The mock stands still meanwhile.
pub(crate) fn look<T>(mock: &Mock, look: impl Fn(&[Call]) -> T) -> T {
    mock.wait_for(Duration::ZERO, |calls| Some(look(calls))).unwrap()
}
