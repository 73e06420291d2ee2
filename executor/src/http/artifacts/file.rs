//! One file, or a part of it.
//!
//! The whole file is read and compared with the manifest before the first byte of the answer. A small one is sent from
//! memory as it was read; a large one is read again, and its last piece is only sent if what was sent is what was compared.

use std::os::fd::AsFd;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use sandbox::limits::Bytes;
use tokio::task::spawn_blocking;

use super::address::Address;
use super::body::Download;
use super::downloads::held;
use super::entity_tag::EntityTag;
use super::range::{Wanted, wanted};
use super::{disposition, find};
use crate::artifacts::ArtifactRecord;
use crate::artifacts::download::{Checked, Content, Keep, check};
use crate::http::api::Api;
use crate::http::guard::RequestId;
use crate::http::problem::Refusal;
use crate::run::record::RunRecord;

pub(in crate::http) async fn file(State(api): State<Arc<Api>>, request: Request) -> Response {
    let id = request.extensions().get::<RequestId>().cloned().unwrap_or_default();
    let (path, method, headers) = (request.uri().path(), request.method(), request.headers());
    match answer(&api, path, method, headers).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(id.as_str()),
    }
}

async fn answer(api: &Api, path: &str, method: &Method, headers: &HeaderMap) -> Result<Response, Refusal> {
    let address = Address::of_file(path)?;
    let record = find::finished(&api.parts, &address.execution_id)?;
    let listed = listed(&record, &address)?;
    let size = listed.size.0;
    let known_tag = listed.sha256.as_ref().map(EntityTag::new);
    let wanted = wanted(method, headers, known_tag.as_ref(), size);
    let section = match &wanted {
        // Nothing of it will be sent.
        _ if *method == Method::HEAD => 0..0,
        Wanted::Unsatisfiable => 0..0,
        Wanted::Whole => 0..size,
        Wanted::Part(part) => part.clone(),
    };
    let memory = if section.is_empty() { None } else { api.downloads.memory_for(listed.size) };
    let keep = if memory.is_some() { Keep::InMemory } else { Keep::Open };

    let checked = {
        let turn = api.downloads.may_check().await;
        let workspace = find::workspace(&api.parts, &record)?;
        let (listed, section) = (listed.clone(), section.clone());
        let check = move || {
            let checked = check(workspace.as_fd(), &listed, section, keep);
            drop(turn);
            checked
        };
        spawn_blocking(check).await.or(Err(Refusal::Internal))?
    };
    let Checked { sha256, content } =
        checked.map_err(|error| find::unavailable(&record.execution_id, &listed.path, error))?;

    let tag = EntityTag::new(&sha256);
    if tag.is_in_if_none_match(headers) {
        return Ok(not_modified(&tag));
    }
    let (status, range) = match wanted {
        Wanted::Unsatisfiable => return Err(Refusal::RangeNotSatisfiable { size: Bytes(size) }),
        Wanted::Whole => (StatusCode::OK, None),
        Wanted::Part(part) => {
            let range = format!("bytes {}-{}/{size}", part.start, part.end - 1);
            (StatusCode::PARTIAL_CONTENT, Some(range))
        }
    };
    let length = if *method == Method::HEAD { size } else { section.end - section.start };
    let body = match (content, memory) {
        (Content::InMemory(bytes), Some(memory)) => {
            // Of a file in memory, so its size is a usize.
            Body::from(held(bytes, memory).slice(section.start as usize..section.end as usize))
        }
        (Content::InMemory(_), None) => return Err(Refusal::Internal),
        (Content::Open(section), _) => {
            Body::new(Download::new(section, Some(length), &record.execution_id, None))
        }
    };
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    describe(headers, &tag);
    headers.insert(CONTENT_TYPE, content_type(&listed.mime_type));
    headers.insert(CONTENT_DISPOSITION, disposition::attachment(&listed.path));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(range) = range.and_then(|range| HeaderValue::try_from(range).ok()) {
        headers.insert(CONTENT_RANGE, range);
    }
    Ok(response)
}

/// Only what the manifest lists is there, and only under its exact name.
fn listed<'record>(
    record: &'record RunRecord,
    address: &Address,
) -> Result<&'record ArtifactRecord, Refusal> {
    record.artifacts.iter().find(|listed| listed.is_named(&address.path)).ok_or_else(|| {
        let path: String = address.path.chars().take(100).collect();
        Refusal::NoArtifact { why: format!("{} left no artifact {path:?}", record.execution_id) }
    })
}

/// What answers with content and answers without have in common.
pub(super) fn describe(headers: &mut HeaderMap, tag: &EntityTag) {
    headers.insert(ETAG, tag.header());
    // Whoever keeps a copy asks before each use: what was there may be gone, and was never for everybody.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    // Untrusted content in the origin of the API: a browser must neither guess what it is nor run it.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
}

pub(super) fn not_modified(tag: &EntityTag) -> Response {
    let mut response = StatusCode::NOT_MODIFIED.into_response();
    describe(response.headers_mut(), tag);
    response
}

fn content_type(mime_type: &str) -> HeaderValue {
    HeaderValue::from_str(mime_type).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}
