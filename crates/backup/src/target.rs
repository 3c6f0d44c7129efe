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
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let store = AmazonS3Builder::from_env().with_bucket_name(bucket).build();
            let store = store.map_err(|error| wrong(error.to_string()))?;
            let prefix = Path::parse(prefix).map_err(|error| wrong(error.to_string()))?;
            return Ok(Self { store: Arc::new(store), prefix, name: text.to_owned() });
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

    fn path(&self, object: &str) -> Path {
        let parts = object.split('/').map(|part| part.to_owned());
        parts.fold(self.prefix.clone(), |path, part| path.join(part.as_str()))
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
