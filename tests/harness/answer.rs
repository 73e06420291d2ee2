//! One answer, and short ways to say what it must be.

use serde_json::Value;

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The result of an execution. Panics, with the whole answer, when this is a refusal.
    pub fn result(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }

    /// The error code of a refusal. Panics, with the whole answer, when this is none.
    pub fn error_code(&self) -> String {
        assert_ne!(self.status, 200, "{}", self.text());
        self.json()["error_code"].as_str().unwrap_or_default().to_owned()
    }
}
