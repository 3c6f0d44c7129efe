//! `$import`.
use serde::{Deserialize, Serialize};
use super::{Step, job::Job};
use crate::{Ask, Exchange, ExchangeError};
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Place {}
impl Exchange {
    pub(super) async fn import_step(&self, _: &Ask, _: Job) -> Result<Step, ExchangeError> {
        Ok(Step::Pause)
    }
}
