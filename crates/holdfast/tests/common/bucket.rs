//! An object store that speaks as much of S3 as backups need, in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};

/// What lies in a bucket, by name.
pub type Objects = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A running object store with one bucket, `bucket`.
pub struct Bucket {
    pub objects: Objects,
    endpoint: String,
    _runtime: tokio::runtime::Runtime,
}

impl Bucket {
    pub fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let objects = Objects::default();
        let app = Router::new().fallback(answer).layer(DefaultBodyLimit::disable());
        let app = app.with_state(Arc::clone(&objects));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { objects, endpoint, _runtime: runtime }
    }

    /// What whoever uses the bucket needs in the environment.
    pub fn environment(&self) -> Vec<(&str, &str)> {
        vec![
            ("AWS_ENDPOINT", self.endpoint.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "nowhere"),
            ("AWS_ACCESS_KEY_ID", "somebody"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ]
    }
}

/// PUT, GET and ListObjectsV2, by signed requests only.
async fn answer(
    State(objects): State<Objects>,
    method: Method,
    uri: Uri,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let signed = headers.get("authorization").and_then(|value| value.to_str().ok());
    if !signed.is_some_and(|value| value.starts_with("AWS4-HMAC-SHA256 Credential=somebody/")) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let Some(name) = uri.path().strip_prefix("/bucket") else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let name = name.trim_start_matches('/').to_owned();
    let etag = ("etag", "\"1\"");
    let at = ("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT");
    let mut objects = objects.lock().unwrap();
    if method == Method::PUT {
        objects.insert(name, body.to_vec());
        return [etag].into_response();
    }
    if !query.contains_key("list-type") {
        return match objects.get(&name) {
            Some(bytes) => ([etag, at], bytes.clone()).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        };
    }
    let prefix = query.get("prefix").cloned().unwrap_or_default();
    let mut xml = String::from("<ListBucketResult>");
    for (key, bytes) in objects.iter().filter(|(key, _)| key.starts_with(&prefix)) {
        xml += &format!(
            "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
             <ETag>1</ETag><Size>{}</Size></Contents>",
            bytes.len()
        );
    }
    xml += "</ListBucketResult>";
    xml.into_response()
}
