//! Where a store lies, and opening the engine there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::chain::Position;
use crate::check;
use crate::engine::{
    Engine, EngineError, FjallEngine, PostgresAddress, PostgresEngine, PostgresOpenError, Space,
    Standing, View,
};
use crate::error::{AddressError, OpenError};
use crate::folder::{EngineKind, Folder, SCHEMA};
use crate::upgrade;

/// Where a store lies. `Debug` and `Display` hold no password.
#[derive(Debug, Clone)]
pub enum StoreLocation {
    /// In a folder, with the embedded engine.
    Folder(PathBuf),
    /// In a PostgreSQL. The folder beside it holds the lock and the newest
    /// acknowledged commit, so that a database that was set back is noticed.
    Postgres {
        /// The database.
        address: PostgresAddress,
        /// The folder.
        dir: PathBuf,
    },
}

impl StoreLocation {
    /// What a setting says: a `postgres://` or `postgresql://` URL, or nothing for
    /// the folder itself.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn parse(setting: &str, dir: &Path) -> Result<Self, AddressError> {
        match setting {
            "" => Ok(Self::Folder(dir.to_owned())),
            url if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
                let address = PostgresAddress::parse(url)?;
                Ok(Self::Postgres { address, dir: dir.to_owned() })
            }
            _ => Err(AddressError::Malformed),
        }
    }

    /// The folder, or the folder beside the database.
    pub fn dir(&self) -> &Path {
        match self {
            Self::Folder(dir) | Self::Postgres { dir, .. } => dir,
        }
    }
}

impl std::fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(dir) => write!(f, "{}", dir.display()),
            Self::Postgres { address, .. } => write!(f, "{address}"),
        }
    }
}

/// An engine that holds a store, with its folder.
pub(crate) struct Opened {
    pub folder: Folder,
    pub engine: Arc<dyn Engine>,
    pub store_id: [u8; 16],
}

/// Opens what is at `location`, or makes an empty store there.
pub(crate) fn open(location: &StoreLocation) -> Result<Opened, OpenError> {
    match location {
        StoreLocation::Folder(dir) => open_folder(dir),
        StoreLocation::Postgres { address, dir } => open_postgres(address, dir),
    }
}

fn open_folder(dir: &Path) -> Result<Opened, OpenError> {
    let folder = Folder::lock(dir)?;
    let format = folder.read_format(EngineKind::Embedded)?;
    if format.is_some() && !folder.engine().is_dir() {
        let (place, what) = ("engine".to_owned(), "the folder is missing");
        return Err(OpenError::Damaged { place, what });
    }
    let engine = FjallEngine::open(&folder.engine()).map_err(OpenError::Engine)?;
    let store_id = match format {
        Some((id, SCHEMA)) => id,
        Some((id, older)) => {
            let reached = |schema| folder.write_schema(EngineKind::Embedded, &id, schema);
            upgrade::run(&engine, older, SCHEMA, upgrade::STEPS, reached)?;
            id
        }
        None => create(&folder, engine.view().as_ref())?,
    };
    Ok(Opened { folder, engine: Arc::new(engine), store_id })
}

/// Makes an empty folder a store. A folder with commits but without a `format`
/// file is a damaged store or half a backup, not an empty one.
fn create(folder: &Folder, view: &dyn View) -> Result<[u8; 16], OpenError> {
    for space in Space::ALL {
        if view.keys(space, &[], None).next().transpose().map_err(OpenError::Engine)?.is_some() {
            let (place, what) = ("format".to_owned(), "the file is missing");
            return Err(OpenError::Damaged { place, what });
        }
    }
    let store_id = new_store_id();
    folder.create_watermark(&Position::genesis(&store_id))?;
    folder.write_format(EngineKind::Embedded, &store_id)?;
    Ok(store_id)
}

fn new_store_id() -> [u8; 16] {
    let mut store_id = [0; 16];
    holdfast_base::fill_random(&mut store_id);
    store_id
}

fn open_postgres(address: &PostgresAddress, dir: &Path) -> Result<Opened, OpenError> {
    let folder = Folder::lock(dir)?;
    let format = folder.read_format(EngineKind::Postgres)?.map(|(id, _)| id);
    let (engine, standing) = connect(address)?;
    if let Some(Standing { schema, .. }) = standing
        && !(1..=SCHEMA).contains(&schema)
    {
        let dir = address.to_string().into();
        return Err(OpenError::Schema { dir, found: schema, known: SCHEMA });
    }
    let elsewhere = |what| OpenError::Elsewhere { dir: dir.to_owned(), what };
    let store_id = match (format, standing) {
        (Some(_), None) => {
            let what = "the database holds no store";
            return Err(OpenError::Damaged { place: address.to_string(), what });
        }
        (_, Some(Standing { ready: false, .. })) => {
            return Err(OpenError::Unfit {
                place: address.to_string(),
                what: "a store is being moved into it; run the same `holdfast migrate` again"
                    .to_owned(),
            });
        }
        (Some(id), Some(standing)) if standing.store_id != id => {
            return Err(elsewhere("the database holds another store than this folder's"));
        }
        (Some(id), Some(_)) => id,
        (None, Some(Standing { store_id, .. })) => {
            // A new machine before an old database: the ledger knows more than we do.
            let position = check::newest(engine.view().as_ref(), &store_id)?;
            folder.create_watermark(&position)?;
            folder.write_format(EngineKind::Postgres, &store_id)?;
            store_id
        }
        (None, None) => {
            let store_id = new_store_id();
            let standing = Standing { store_id, schema: SCHEMA, ready: true };
            engine.create(&standing).map_err(unfit(address))?;
            folder.create_watermark(&Position::genesis(&store_id))?;
            folder.write_format(EngineKind::Postgres, &store_id)?;
            store_id
        }
    };
    if let Some(Standing { schema, .. }) = standing
        && schema < SCHEMA
    {
        let reached = |schema| {
            engine.set_schema(schema).map_err(unfit(address))?;
            folder.write_schema(EngineKind::Postgres, &store_id, schema)
        };
        upgrade::run(&engine, schema, SCHEMA, upgrade::STEPS, reached)?;
    }
    Ok(Opened { folder, engine: Arc::new(engine), store_id })
}

/// Connects to a database and locks it.
pub(crate) fn connect(
    address: &PostgresAddress,
) -> Result<(PostgresEngine, Option<Standing>), OpenError> {
    PostgresEngine::open(address.clone()).map_err(|error| match error {
        PostgresOpenError::InUse => OpenError::InUse { dir: address.to_string().into() },
        PostgresOpenError::Engine(error) => unfit(address)(error),
    })
}

fn unfit(address: &PostgresAddress) -> impl Fn(EngineError) -> OpenError {
    let place = address.to_string();
    move |error| OpenError::Unfit { place: place.clone(), what: error.to_string() }
}
