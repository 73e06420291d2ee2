//! `EXECUTOR_API_TOKEN`: whoever does not have it gets one answer, always the same, and starts nothing.

use conformance::Settings;

use crate::quiet::Quiet;
use crate::raw::Conversation;

const TOKEN: &str = "canary-of-the-api-token-5d41402abc";
const GOOD: &[u8] = br#"{"code":"true","language":"shell"}"#;

// HT-08
#[test]
fn each_wrong_form_of_the_token_gets_the_same_401_and_the_right_one_is_let_in() {
    let daemon = Settings::new().with_api_token(TOKEN).set("LOG_LEVEL", "trace").start();
    let quiet = Quiet::from_now(&daemon);
    let right = format!("Bearer {TOKEN}");
    let large = format!("Bearer {}", "x".repeat(50_000));
    let json = ("content-type", "application/json");
    let authorization = |value: &'static str| vec![("authorization", value)];
    let mut wrong: Vec<Vec<(&str, &str)>> = vec![
        vec![],
        authorization(""),
        authorization("Bearer"),
        authorization("Bearer "),
        authorization("Bearer wrong"),
        authorization("Basic Y2FuYXJ5OmNhbmFyeQ=="),
        authorization("canary-of-the-api-token-5d41402abc"),
        authorization("Token canary-of-the-api-token-5d41402abc"),
        authorization("Bearer canary-of-the-api-token-5d41402ab"),
        authorization("Bearer canary-of-the-api-token-5d41402abcd"),
        authorization("Bearer CANARY-OF-THE-API-TOKEN-5D41402ABC"),
        authorization("Bearer canary-of-the-api-token-5d41402abc, x"),
        authorization("Bearercanary-of-the-api-token-5d41402abc"),
        vec![("x-api-key", TOKEN)],
        vec![("cookie", TOKEN)],
    ];
    wrong.push(vec![("authorization", &large)]);
    wrong.push(vec![("authorization", &right), ("authorization", &right)]);
    wrong.push(vec![("authorization", "Bearer wrong"), ("authorization", &right)]);
    let mut bodies = Vec::new();
    for headers in &wrong {
        for (method, path) in
            [("POST", "/execute"), ("GET", "/info"), ("GET", "/openapi.yaml"), ("GET", "/nowhere")]
        {
            let headers = [headers.as_slice(), &[json, ("x-request-id", "same")]].concat();
            let body = if method == "POST" { GOOD.to_vec() } else { Vec::new() };
            let answer = daemon.request(method, path, &headers, body);
            assert_eq!(answer.status, 401, "{headers:?} {path}: {}", answer.text());
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            bodies.push(answer.text());
        }
    }
    let query = daemon.request(
        "POST",
        &format!("/execute?token={TOKEN}&access_token={TOKEN}"),
        &[json],
        GOOD.to_vec(),
    );
    assert_eq!(query.status, 401);
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    quiet.still(&daemon);

    for scheme in ["Bearer", "bearer", "BEARER"] {
        let value = format!("{scheme} {TOKEN}");
        let answer = daemon.request("POST", "/execute", &[json, ("authorization", &value)], GOOD.to_vec());
        assert_eq!(answer.status, 200, "{scheme}: {}", answer.text());
    }
    for probe in ["/health", "/health/live", "/health/ready"] {
        assert_eq!(daemon.request("GET", probe, &[], Vec::new()).status, 200, "{probe}");
    }
    for almost in ["//health", "/health/", "/health/live/..", "/%68ealth"] {
        let mut conversation = Conversation::with(&daemon);
        conversation.say(format!("GET {almost} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        assert_eq!(conversation.hear().unwrap().status, 401, "{almost}");
    }
    assert!(!daemon.log().contains(TOKEN), "{}", daemon.log());
}
