//! Where backups lie: a folder, or an S3-compatible object store.

use std::path::Path as FilePath;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};

use crate::BackupError;

/// A place for backups.
#[derive(Clone)]
pub struct Target {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    name: String,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl Target {
    /// `s3://bucket/prefix`, with credentials, region and endpoint from the `AWS_*`
    /// environment variables; anything else is a folder, made if `make` says so.
    ///
    /// # Errors
    /// [`BackupError::Target`].
    pub fn parse(text: &str, make: bool) -> Result<Self, BackupError> {
        let wrong = |what: String| BackupError::Target { target: text.to_owned(), what };
        if let Some(rest) = text.strip_prefix("s3://") {
            return Self::s3(AmazonS3Builder::from_env(), rest, text);
        }
        if text.contains("://") {
            return Err(wrong("neither a folder nor s3://bucket/prefix".to_owned()));
        }
        let dir = FilePath::new(text);
        if make {
            use std::os::unix::fs::DirBuilderExt as _;
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
            made.map_err(|error| wrong(error.to_string()))?;
        }
        let store = LocalFileSystem::new_with_prefix(dir);
        let store = store.map_err(|error| wrong(error.to_string()))?.with_fsync(true);
        Ok(Self { store: Arc::new(store), prefix: Path::default(), name: text.to_owned() })
    }

    fn s3(builder: AmazonS3Builder, place: &str, name: &str) -> Result<Self, BackupError> {
        let wrong = |what: String| BackupError::Target { target: name.to_owned(), what };
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let store = builder.with_bucket_name(bucket).build();
        let store = store.map_err(|error| wrong(error.to_string()))?;
        let prefix = Path::parse(prefix).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { store: Arc::new(store), prefix, name: name.to_owned() })
    }

    fn path(&self, object: &str) -> Path {
        let parts = object.split('/').filter(|part| !part.is_empty());
        parts.fold(self.prefix.clone(), |path, part| path.join(part))
    }

    pub(crate) async fn put(&self, object: &str, bytes: Vec<u8>) -> Result<(), BackupError> {
        let payload = PutPayload::from(Bytes::from(bytes));
        self.store.put(&self.path(object), payload).await?;
        Ok(())
    }

    pub(crate) async fn get(&self, object: &str) -> Result<Option<Vec<u8>>, BackupError> {
        match self.store.get(&self.path(object)).await {
            Ok(found) => Ok(Some(found.bytes().await?.to_vec())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The last parts of the names below `folder`, in order.
    pub(crate) async fn list(&self, folder: &str) -> Result<Vec<String>, BackupError> {
        let path = self.path(folder);
        let found: Vec<_> = self.store.list(Some(&path)).try_collect().await?;
        let names = found.iter().filter_map(|meta| meta.location.filename().map(str::to_owned));
        let mut names: Vec<String> = names.collect();
        names.sort();
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::{BTreeMap, HashMap};

    use axum::Router;
    use axum::extract::{Query, State};
    use axum::http::{HeaderMap, Method, StatusCode, Uri};
    use axum::response::{IntoResponse as _, Response};
    use parking_lot::Mutex;

    use super::*;

    type Objects = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;
    /// Names on one page of a listing, so that several are asked for.
    const PAGE: usize = 2;

    /// An object store that speaks as much of S3 as is needed: PUT, GET and
    /// ListObjectsV2 in pages, by signed requests only.
    async fn stand_in(
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
        if method == Method::PUT {
            objects.lock().insert(name, body.to_vec());
            return [etag].into_response();
        }
        if !query.contains_key("list-type") {
            return match objects.lock().get(&name) {
                Some(bytes) => ([etag, at], bytes.clone()).into_response(),
                None => StatusCode::NOT_FOUND.into_response(),
            };
        }
        let prefix = query.get("prefix").cloned().unwrap_or_default();
        let after = query.get("continuation-token").cloned().unwrap_or_default();
        let objects = objects.lock();
        let found = objects.keys().filter(|key| key.starts_with(&prefix) && **key > after);
        let keys: Vec<&String> = found.collect();
        let mut xml = String::from("<ListBucketResult>");
        for key in keys.iter().take(PAGE) {
            xml += &format!(
                "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
                 <ETag>1</ETag><Size>{}</Size></Contents>",
                objects[*key].len()
            );
        }
        if keys.len() > PAGE {
            let token = keys[PAGE - 1];
            xml += &format!("<NextContinuationToken>{token}</NextContinuationToken>");
        }
        xml += "</ListBucketResult>";
        xml.into_response()
    }

    #[tokio::test]
    async fn p14_an_object_store_keeps_gives_and_lists_what_a_folder_does() {
        let objects = Objects::default();
        let app = Router::new().fallback(stand_in).with_state(Arc::clone(&objects));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move { axum::serve(listener, app).await });
        let builder = || {
            AmazonS3Builder::new()
                .with_endpoint(&endpoint)
                .with_allow_http(true)
                .with_region("nowhere")
                .with_access_key_id("somebody")
                .with_secret_access_key("secret")
        };
        let folder = tempfile::tempdir().unwrap();
        let targets = [
            Target::parse(folder.path().to_str().unwrap(), true).unwrap(),
            Target::s3(builder(), "bucket/some/prefix", "s3://bucket/some/prefix").unwrap(),
        ];
        for target in &targets {
            assert_eq!(target.list("").await.unwrap(), Vec::<String>::new(), "{target}");
            assert_eq!(target.get("manifests/1").await.unwrap(), None, "{target}");
            for number in 1..=5_u8 {
                target.put(&format!("manifests/{number}"), vec![number; 3]).await.unwrap();
            }
            target.put("manifests/3", b"again".to_vec()).await.unwrap();
            target.put("manifestos", Vec::new()).await.unwrap();
            let names = target.list("manifests").await.unwrap();
            assert_eq!(names, ["1", "2", "3", "4", "5"], "{target}");
            assert_eq!(target.list("").await.unwrap().len(), 6, "{target}");
            assert_eq!(target.get("manifests/3").await.unwrap().unwrap(), b"again", "{target}");
        }
        assert!(objects.lock().contains_key("some/prefix/manifests/5"));
        // Beside the prefix is another place.
        let other = Target::s3(builder(), "bucket/some/pre", "other").unwrap();
        assert!(other.list("").await.unwrap().is_empty());
        let stranger = builder().with_access_key_id("stranger");
        let stranger = Target::s3(stranger, "bucket/some/prefix", "stranger").unwrap();
        let refused = stranger.get("manifests/3").await;
        assert!(matches!(refused, Err(BackupError::Object(_))), "{refused:?}");
        serving.abort();
    }
}
