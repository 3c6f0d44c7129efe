#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod asked;
mod budget;
mod client;
mod client_keys;
mod error;
mod frames;
mod inbox;
mod keyring;
mod measure;
mod net;
mod people;
mod population;
mod population_client;
mod primitive;
mod process;
mod protocol;
mod public;
mod root;
mod sealing;
mod steps;
mod table;
mod tokens;

pub use asked::{PopulationMerge, PopulationQuestion, PopulationSearch, ReleaseRequest};
pub use budget::{Budget, Window};
pub use client::{KeeperClient, OrganizationKeys, ServiceKeys};
pub use client_keys::{NewGuard, RotatedKey};
pub use error::{KeeperError, NO_BULK_GRANT};
pub use inbox::{InboxSealer, KeptPayload};
pub use measure::{RewrapFailed, RewrapRig};
pub use net::{KeeperAddress, TcpListen, TlsError, TlsIdentity};
pub use people::{
    ImportedPrincipal, NewPrincipal, OpenedSession, Proof, Secrets, SessionFacts, SessionToken,
    Who, totp,
};
pub use population::{
    Check, Condition, Delta, DeltaRef, DeltaSealer, IndexedResource, Needed, PostedResource, Range,
    RunRef,
};
pub use population_client::MergedStep;
pub use process::rotation::{KeysStatus, RotationDue};
pub use process::{
    Acknowledged, BULK_EXPORT, BulkGrant, GrantProposal, KeeperConfig, KeyRows, Offline,
    StartError, backup_key, run, throwaway_ledger_keys,
};
pub use protocol::{BudgetOwner, KeeperStatus};
pub use root::{
    GuardError, InitError, KitNote, RecoverError, RootGuard, initialise, recover, weakness,
};
pub use sealing::{ClassKey, PatientKeys, SealContext, SealError, SystemKey};
pub use table::KeyLine;
pub use tokens::TokenKey;
