//! A control plane to develop against: answers every callback and prints a line for each. A stub until the daemon calls back.

#![expect(clippy::print_stdout, reason = "printing what arrives is what this program is for")]

use std::process::ExitCode;

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::routing::post;

const DEFAULT_ADDRESS: &str = "127.0.0.1:8090";

#[tokio::main]
async fn main() -> ExitCode {
    let address = std::env::args().nth(1).unwrap_or_else(|| DEFAULT_ADDRESS.to_owned());
    let listener = match tokio::net::TcpListener::bind(&address).await {
        Ok(listener) => listener,
        Err(error) => {
            println!("cannot listen on {address}: {error}; name another address as the first argument");
            return ExitCode::FAILURE;
        }
    };
    println!("listening on {address}");
    let app = Router::new().route("/internal/{*call}", post(accept));
    match axum::serve(listener, app).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

async fn accept(uri: Uri, body: String) -> StatusCode {
    println!("{} {} bytes", uri.path(), body.len());
    StatusCode::OK
}
