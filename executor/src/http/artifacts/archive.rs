//! All artifacts of an execution as one file.
//!
//! Every file is read and compared before the first byte of the answer, and again while it is packed: what has changed by
//! then is 410, what changes later breaks the answer off. Nothing is silently left out: where the manifest itself does not
//! list everything, or lists a file that nobody could ever read, headers say so.

use std::os::fd::AsFd;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use tokio::task::spawn_blocking;

use super::address::Address;
use super::body::Download;
use super::entity_tag::EntityTag;
use super::file::{describe, not_modified};
use super::{disposition, find};
use crate::artifacts::ArtifactRecord;
use crate::artifacts::download::{Archive, Checked, Keep, Listing, Sha256Digest, Unavailable, check};
use crate::http::api::Api;
use crate::http::guard::RequestId;
use crate::http::problem::Refusal;
use crate::run::record::RunRecord;

/// `true`: the execution left more files than its manifest lists.
const TRUNCATED: HeaderName = HeaderName::from_static("x-artifacts-truncated");
/// How many files are listed and not in the archive.
const OMITTED: HeaderName = HeaderName::from_static("x-artifacts-omitted");

pub(in crate::http) async fn archive(State(api): State<Arc<Api>>, request: Request) -> Response {
    let id = request.extensions().get::<RequestId>().cloned().unwrap_or_default();
    match answer(&api, request.uri().path(), request.headers()).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(id.as_str()),
    }
}

async fn answer(api: &Api, path: &str, headers: &HeaderMap) -> Result<Response, Refusal> {
    let record = find::finished(&api.parts, &Address::of_archive(path)?)?;
    let turn = api.downloads.may_archive().await;
    let mut listing = Listing::default();
    let mut omitted: u64 = 0;
    for listed in &record.artifacts {
        match digest(api, &record, listed).await? {
            Some(sha256) => listing.add(listed.clone(), sha256),
            None => omitted += 1,
        }
    }
    let tag = EntityTag::new(&listing.identity());
    if tag.is_in_if_none_match(headers) {
        return Ok(not_modified(&tag));
    }
    // What left nothing has nothing to open.
    let dir = if listing.is_empty() { None } else { Some(find::workspace(&api.parts, &record)?) };
    let archive = Archive::new(dir, listing).or(Err(Refusal::Internal))?;
    let body = Download::new(archive, None, &record.execution_id, Some(turn));
    let mut response = Body::new(body).into_response();
    let headers = response.headers_mut();
    describe(headers, &tag);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/zstd"));
    let name = format!("{}.tar.zst", record.execution_id);
    headers.insert(CONTENT_DISPOSITION, disposition::attachment(&name));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("none"));
    headers.insert(
        TRUNCATED,
        HeaderValue::from_static(if record.artifacts_truncated { "true" } else { "false" }),
    );
    headers.insert(OMITTED, HeaderValue::from(omitted));
    Ok(response)
}

/// `None`: a file that could not be read when it was listed, and cannot be now.
async fn digest(
    api: &Api,
    record: &Arc<RunRecord>,
    listed: &ArtifactRecord,
) -> Result<Option<Sha256Digest>, Refusal> {
    let turn = api.downloads.may_check().await;
    let workspace = find::workspace(&api.parts, record)?;
    let file = listed.clone();
    let check = move || {
        let checked = check(workspace.as_fd(), &file, 0..0, Keep::Open);
        drop(turn);
        checked
    };
    match spawn_blocking(check).await.or(Err(Refusal::Internal))? {
        Ok(Checked { sha256, .. }) => Ok(Some(sha256)),
        Err(Unavailable::Denied) if listed.sha256.is_none() => Ok(None),
        Err(error) => Err(find::unavailable(&record.execution_id, &listed.path, error)),
    }
}
