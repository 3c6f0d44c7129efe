#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod budget;
mod client;
mod error;
mod inbox;
mod primitive;
mod process;
mod protocol;
mod root;
mod sealing;
mod table;
mod tokens;

pub use budget::{Budget, Window};
pub use client::{KeeperClient, OrganizationKeys, ReleaseRequest, ServiceKeys};
pub use error::KeeperError;
pub use inbox::{InboxOpener, InboxSealer};
pub use process::{KeeperConfig, StartError, run};
pub use protocol::KeeperStatus;
pub use root::{InitError, initialise};
pub use sealing::{ClassKey, PatientKeys, SealContext, SealError, SystemKey};
pub use tokens::TokenKey;
