//! The public side of the ledger, over the socket: files that anybody may read,
//! proofs made from them, cosigned checkpoints handed back, and evidence bundles on
//! a witnessed checkpoint. None of it touches a key.

use holdfast_ledger::{Ledger, Proof};
use serde::{Deserialize, Serialize};

use crate::client::KeeperClient;
use crate::error::{KeeperError, Malformed, Refused};
use crate::protocol::{Answer, PART_BYTES, Request};

/// Length of a path or a checkpoint that is handed in.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PublicRequest {
    File { path: String },
    ProveInclusion { index: u64, size: Option<u64> },
    ProveConsistency { from: u64, size: Option<u64> },
    PublishWitnessed { note: String },
}

/// What is answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum PublicAnswer {
    /// The file, when there is one. Tiles have at most 8,960 bytes.
    File(Option<Vec<u8>>),
    /// The proof as JSON; nothing when the ledger has no such entry or size.
    Proof(Option<Vec<u8>>),
    /// Whether it was published; no when a newer one is.
    Published(bool),
}

/// Answers in the keeper. Blocks on the disk.
pub(crate) fn answer(ledger: &Ledger, request: PublicRequest) -> Result<PublicAnswer, Refused> {
    let fault = |error: &dyn std::fmt::Display| Refused::Fault { what: error.to_string() };
    match request {
        PublicRequest::File { path } => {
            if path.len() > TEXT_BYTES_MAX {
                return Err(Malformed::TooLarge.into());
            }
            let file = ledger.public_file(&path).map_err(|error| fault(&error))?;
            Ok(PublicAnswer::File(file.filter(|file| file.len() <= PART_BYTES)))
        }
        PublicRequest::ProveInclusion { index, size } => {
            proven(ledger.prove_inclusion(index, size))
        }
        PublicRequest::ProveConsistency { from, size } => {
            proven(ledger.prove_consistency(from, size))
        }
        PublicRequest::PublishWitnessed { note } => match ledger.publish_witnessed(&note) {
            Ok(_) => Ok(PublicAnswer::Published(true)),
            Err(holdfast_ledger::CosignError::Older { .. }) => Ok(PublicAnswer::Published(false)),
            Err(holdfast_ledger::CosignError::Io(error)) => Err(fault(&error)),
            Err(_) => Err(Malformed::Entry.into()),
        },
    }
}

fn proven(proof: Result<Proof, holdfast_ledger::ExportError>) -> Result<PublicAnswer, Refused> {
    let fault = |what: String| Refused::Fault { what };
    match proof {
        Ok(proof) => {
            let json = serde_json::to_vec(&proof).map_err(|error| fault(error.to_string()))?;
            Ok(PublicAnswer::Proof(Some(json)))
        }
        Err(holdfast_ledger::ExportError::NoSuchSize { .. }) => Ok(PublicAnswer::Proof(None)),
        Err(error) => Err(fault(error.to_string())),
    }
}

impl KeeperClient {
    async fn ask_public(&self, request: PublicRequest) -> Result<PublicAnswer, KeeperError> {
        match self.ask(Request::Public(request)).await? {
            Answer::Public(answer) => Ok(answer),
            Answer::Refused(refused) => Err(refused.into()),
            _ => Err(unexpected()),
        }
    }

    /// A public file of the ledger by its path (C2SP `tlog-tiles`): `checkpoint`,
    /// `checkpoint.witnessed`, `tile/…`. `None` when there is none.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn public_file(&self, path: &str) -> Result<Option<Vec<u8>>, KeeperError> {
        match self.ask_public(PublicRequest::File { path: path.to_owned() }).await? {
            PublicAnswer::File(file) => Ok(file),
            _ => Err(unexpected()),
        }
    }

    /// The proof that entry `index` is in the tree of `size`, or of now. `None` when
    /// there is no such entry or size.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn prove_inclusion(
        &self,
        index: u64,
        size: Option<u64>,
    ) -> Result<Option<Proof>, KeeperError> {
        self.proof(PublicRequest::ProveInclusion { index, size }).await
    }

    /// The proof that the tree of `size`, or of now, begins with that of `from`.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn prove_consistency(
        &self,
        from: u64,
        size: Option<u64>,
    ) -> Result<Option<Proof>, KeeperError> {
        self.proof(PublicRequest::ProveConsistency { from, size }).await
    }

    async fn proof(&self, request: PublicRequest) -> Result<Option<Proof>, KeeperError> {
        let PublicAnswer::Proof(json) = self.ask_public(request).await? else {
            return Err(unexpected());
        };
        let read = |json: Vec<u8>| serde_json::from_slice(&json).map_err(|_| unexpected());
        json.map(read).transpose()
    }

    /// Publishes a checkpoint with the cosignatures that were collected for it;
    /// `false` when a newer one is published already.
    ///
    /// # Errors
    /// [`KeeperError::Malformed`] when it is no checkpoint of this ledger.
    pub async fn publish_witnessed(&self, note: &str) -> Result<bool, KeeperError> {
        match self.ask_public(PublicRequest::PublishWitnessed { note: note.to_owned() }).await? {
            PublicAnswer::Published(published) => Ok(published),
            _ => Err(unexpected()),
        }
    }
}

fn unexpected() -> KeeperError {
    KeeperError::Protocol { what: "an unexpected answer" }
}
