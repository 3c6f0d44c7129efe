//! The `holdfast` command: wiring, command line, demo and drill. A library only so
//! that its tests can use the same clients; its interface is the command line.
#![forbid(unsafe_code)]

mod admin;
pub mod bulk;
pub mod cli;
pub mod client;
mod commands;
pub mod config;
pub mod cosigning;
mod crypto;
pub mod demo;
mod drill;
pub mod failure;
mod forget;
mod grants;
mod init;
mod keys;
mod load;
mod migrate;
mod reconcile;
mod recovery;
pub mod serve;
pub mod subscriptions;
pub mod tls;
pub mod wiring;
pub mod witness;

pub use commands::run;
