//! A patient's row: every generation of the key, each wrapped under a generation
//! of the organization's wrapping key.
//!
//! Value: one byte `0x00` when forgotten; or `0x02` ‖ count `u8` ‖ count ×
//! (generation `u32` ‖ created `i64` ‖ wrap generation `u32` ‖ sealed 73 bytes).
//! A value that begins with `0x01` is the one wrapped key of an older folder:
//! generation 1 under wrap generation 1.

use holdfast_base::{OrganizationId, PatientId};
use zeroize::Zeroizing;

use super::TableError;
use crate::keyring::{FIRST, Keys};
use crate::primitive::{OVERHEAD_BYTES, Secret, place};

pub(super) const FORGOTTEN: [u8; 1] = [0];
const FORMAT_ONE: u8 = 1;
const FORMAT_MANY: u8 = 2;
const SEALED_BYTES: usize = 32 + OVERHEAD_BYTES;
const PART_BYTES: usize = 4 + 8 + 4 + SEALED_BYTES;
/// More generations of one patient's key are not made.
pub(super) const GENERATIONS_MAX: usize = 64;

/// One wrapped generation.
#[derive(Clone)]
pub(super) struct Wrapped {
    pub number: u32,
    pub created: i64,
    pub wrap: u32,
    sealed: Vec<u8>,
}

fn damaged() -> TableError {
    TableError::Damaged { row: "patient" }
}

fn wrapped_place(id: &OrganizationId, patient: PatientId, number: u32) -> Vec<u8> {
    let (id, patient) = (id.as_str().as_bytes(), patient.as_bytes());
    if number == FIRST {
        return place("holdfast/v1/key/patient", &[id, patient]);
    }
    place("holdfast/v2/key/patient", &[id, patient, &number.to_be_bytes()])
}

impl Wrapped {
    /// Wraps `secret` as generation `number`.
    pub fn new(
        id: &OrganizationId,
        patient: PatientId,
        (number, created): (u32, i64),
        wrap: &Keys,
        secret: &Secret,
    ) -> Self {
        let sealed = wrap.newest().seal(&wrapped_place(id, patient, number), secret.bytes());
        Self { number, created, wrap: wrap.generation(), sealed }
    }

    pub fn open(
        &self,
        id: &OrganizationId,
        patient: PatientId,
        wrap: &Keys,
    ) -> Result<Secret, TableError> {
        let under = wrap.get(self.wrap).ok_or_else(damaged)?;
        let opened = under.open(&wrapped_place(id, patient, self.number), &self.sealed);
        let opened = opened.map(Zeroizing::new).map_err(|_| damaged())?;
        Secret::from_slice(&opened).ok_or_else(damaged)
    }
}

/// Whether the row says that the patient was forgotten.
pub(super) fn is_forgotten(value: &[u8]) -> bool {
    value == FORGOTTEN
}

/// Reads a row that is not that of a forgotten patient.
pub(super) fn parse(value: &[u8]) -> Result<Vec<Wrapped>, TableError> {
    match value.split_first() {
        Some((&FORMAT_ONE, _)) => {
            Ok(vec![Wrapped { number: FIRST, created: 0, wrap: FIRST, sealed: value.to_vec() }])
        }
        Some((&FORMAT_MANY, rest)) => {
            let (&count, parts) = rest.split_first().ok_or_else(damaged)?;
            if count == 0 || parts.len() != usize::from(count) * PART_BYTES {
                return Err(damaged());
            }
            let part = |part: &[u8]| {
                let (number, rest) = part.split_first_chunk::<4>()?;
                let (created, rest) = rest.split_first_chunk::<8>()?;
                let (wrap, sealed) = rest.split_first_chunk::<4>()?;
                Some(Wrapped {
                    number: u32::from_be_bytes(*number),
                    created: i64::from_be_bytes(*created),
                    wrap: u32::from_be_bytes(*wrap),
                    sealed: sealed.to_vec(),
                })
            };
            let parts = parts.chunks_exact(PART_BYTES).map(part);
            parts.collect::<Option<Vec<_>>>().ok_or_else(damaged)
        }
        _ => Err(damaged()),
    }
}

/// The row's value.
pub(super) fn encode(parts: &[Wrapped]) -> Vec<u8> {
    let count = u8::try_from(parts.len()).expect("at most 64 generations");
    let mut value = Vec::with_capacity(2 + parts.len() * PART_BYTES);
    value.extend_from_slice(&[FORMAT_MANY, count]);
    for part in parts {
        value.extend_from_slice(&part.number.to_be_bytes());
        value.extend_from_slice(&part.created.to_be_bytes());
        value.extend_from_slice(&part.wrap.to_be_bytes());
        value.extend_from_slice(&part.sealed);
    }
    value
}

/// Unwraps all generations.
pub(super) fn open(
    value: &[u8],
    id: &OrganizationId,
    patient: PatientId,
    wrap: &Keys,
) -> Result<Keys, TableError> {
    let open = |one: &Wrapped| Ok((one.number, one.open(id, patient, wrap)?));
    let generations = parse(value)?.iter().map(open).collect::<Result<Vec<_>, TableError>>()?;
    Keys::of(generations).ok_or_else(damaged)
}

/// The row wrapped under the newest generation of `wrap`; nothing when it is.
pub(super) fn rewrapped(
    value: &[u8],
    id: &OrganizationId,
    patient: PatientId,
    wrap: &Keys,
) -> Result<Option<Vec<u8>>, TableError> {
    let parts = parse(value)?;
    if parts.iter().all(|part| part.wrap == wrap.generation()) {
        return Ok(None);
    }
    let again = |part: &Wrapped| {
        let secret = part.open(id, patient, wrap)?;
        Ok(Wrapped::new(id, patient, (part.number, part.created), wrap, &secret))
    };
    let parts = parts.iter().map(again).collect::<Result<Vec<_>, TableError>>()?;
    Ok(Some(encode(&parts)))
}
