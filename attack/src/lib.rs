#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod database;
pub mod features;
pub mod learn;
pub mod people;
pub mod prevalence;
pub mod report;
pub mod stolen;
pub mod trial;
pub mod truth;
pub mod victim;
pub mod weak;

/// What may go wrong: the first failure ends the run and is shown.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
