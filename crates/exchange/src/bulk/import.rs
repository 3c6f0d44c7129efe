//! `$import`.
use super::{Step, job::Job};
use crate::{Ask, Exchange, ExchangeError};
use serde::{Deserialize, Serialize};
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Place {}
impl Exchange {
    pub(super) async fn import_step(&self, _: &Ask, _: Job) -> Result<Step, ExchangeError> {
        Ok(Step::Pause)
    }
}
