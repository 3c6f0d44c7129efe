//! Keys and values of every keyspace, as `docs/storage.md` lays them out.
//!
//! Numbers are big-endian, so that byte order is number order. Commit numbers
//! in version keys are stored complemented: the newest version of a resource
//! comes first, and one seek to (resource, *t*) finds what was current at *t*.

use holdfast_base::{CommitNumber, ElementClass, MessageId, PatientId, Timestamp};

use crate::chain::Digest;
use crate::codec::{In, Out};
use crate::engine::Space;
use crate::error::ReadError;
use crate::model::{IndexRow, KeptPayload, KeptRow, KeptState, ResourceKey, SealedVersion};
use crate::transaction::Table;

/// First byte of every structured value.
const LAYOUT: u8 = 1;
/// organization 4 ‖ patient 16 ‖ type 2 ‖ id token 16.
pub(crate) const RESOURCE_BYTES: usize = 38;
/// resource 38 ‖ complemented commit 8.
pub(crate) const VERSION_BYTES: usize = RESOURCE_BYTES + 8;

/// A resource as the first part of its versions' keys.
pub(crate) type ResourceBytes = [u8; RESOURCE_BYTES];

pub(crate) fn resource_bytes(key: &ResourceKey) -> ResourceBytes {
    let mut bytes = [0; RESOURCE_BYTES];
    bytes[..4].copy_from_slice(&key.organization.to_be_bytes());
    bytes[4..20].copy_from_slice(key.patient.as_bytes());
    bytes[20..22].copy_from_slice(&key.type_code.to_be_bytes());
    bytes[22..].copy_from_slice(&key.id_token);
    bytes
}

/// The common start of all version keys of a patient, or of one type of theirs.
pub(crate) fn patient_prefix(
    organization: u32,
    patient: PatientId,
    type_code: Option<u16>,
) -> Vec<u8> {
    let prefix = Out::with_capacity(22).u32(organization).raw(patient.as_bytes());
    match type_code {
        Some(code) => prefix.u16(code).done(),
        None => prefix.done(),
    }
}

pub(crate) fn version_key(resource: &ResourceBytes, commit: CommitNumber) -> Vec<u8> {
    Out::with_capacity(VERSION_BYTES).raw(resource).u64(!commit.0).done()
}

/// Shards of an engine that spreads over servers.
#[cfg(test)]
pub(crate) const SHARDS: u16 = 256;

/// The shard of a key: patients' rows lie in the shard of (organization,
/// patient), all others in that of their whole key. First byte of a SHA-256.
pub(crate) fn shard_of(space: Space, key: &[u8]) -> u8 {
    let scope = match space {
        Space::Index | Space::Bodies => key.get(..20).unwrap_or(key),
        _ => key,
    };
    let mut digest = Digest::new("holdfast/store/shard/v1");
    digest.raw(scope);
    digest.done()[0]
}

/// The first key after all that start with `prefix`; `None` when there is none.
pub(crate) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let keep = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=keep].to_vec();
    end[keep] += 1;
    Some(end)
}

/// The resource and the commit of a version key.
pub(crate) fn read_version_key(
    space: Space,
    key: &[u8],
) -> Result<(ResourceKey, CommitNumber), ReadError> {
    parse_version_key(key).ok_or_else(|| damaged(space, key, "the key has another form"))
}

fn parse_version_key(key: &[u8]) -> Option<(ResourceKey, CommitNumber)> {
    let mut fields = In::new(key);
    let resource = ResourceKey {
        organization: fields.u32()?,
        patient: PatientId::from_bytes(fields.array()?),
        type_code: fields.u16()?,
        id_token: fields.array()?,
    };
    let commit = CommitNumber(!fields.u64()?);
    fields.end()?;
    Some((resource, commit))
}

/// Value of an index row: everything of a version but its body.
pub(crate) fn index_value(sealed: &SealedVersion) -> Vec<u8> {
    Out::with_capacity(26 + sealed.id_sealed.len() + sealed.index.len())
        .u8(LAYOUT)
        .u64(sealed.version)
        .u8(sealed.deleted.into())
        .i64(sealed.last_updated.millis())
        .bytes(&sealed.id_sealed)
        .bytes(&sealed.index)
        .done()
}

pub(crate) fn read_index(key: &[u8], value: &[u8]) -> Result<IndexRow, ReadError> {
    let (resource, commit) = read_version_key(Space::Index, key)?;
    let parse = || {
        let mut fields = In::new(value);
        (fields.u8()? == LAYOUT).then_some(())?;
        let row = IndexRow {
            key: resource,
            version: fields.u64()?,
            deleted: flag(fields.u8()?)?,
            last_updated: Timestamp::from_millis(fields.i64()?),
            commit,
            id_sealed: fields.bytes()?.to_vec(),
            index: fields.bytes()?.to_vec(),
        };
        fields.end()?;
        Some(row)
    };
    parse().ok_or_else(|| damaged(Space::Index, key, "the value has another form"))
}

/// Value of a body row. The version number is repeated so that a body of
/// another version is noticed before it is opened.
pub(crate) fn body_value(sealed: &SealedVersion) -> Vec<u8> {
    let bytes: usize = sealed.parts.iter().map(|(_, part)| part.len() + 5).sum();
    let count = u8::try_from(sealed.parts.len()).unwrap_or(u8::MAX);
    let start = Out::with_capacity(10 + bytes).u8(LAYOUT).u64(sealed.version).u8(count);
    sealed.parts.iter().fold(start, |out, (class, part)| out.u8(*class as u8).bytes(part)).done()
}

pub(crate) fn read_body(
    key: &[u8],
    value: &[u8],
    version: u64,
) -> Result<Vec<(ElementClass, Vec<u8>)>, ReadError> {
    let parse = || {
        let mut fields = In::new(value);
        (fields.u8()? == LAYOUT && fields.u64()? == version).then_some(())?;
        let count = fields.u8()?;
        let mut parts = Vec::with_capacity(count.into());
        for _ in 0..count {
            let class = *ElementClass::ALL.get(usize::from(fields.u8()?))?;
            parts.push((class, fields.bytes()?.to_vec()));
        }
        fields.end()?;
        Some(parts)
    };
    parse().ok_or_else(|| damaged(Space::Bodies, key, "the value has another form"))
}

pub(crate) fn row_key(table: Table, key: &[u8]) -> Vec<u8> {
    Out::with_capacity(1 + key.len()).u8(table as u8).raw(key).done()
}

/// Value of a generic row: the commit that wrote it, then what was given. Keys of
/// rows are written over, so an engine could bring an older value back unseen.
pub(crate) fn row_value(commit: CommitNumber, value: &[u8]) -> Vec<u8> {
    Out::with_capacity(8 + value.len()).u64(commit.0).raw(value).done()
}

pub(crate) fn read_row<'a>(
    key: &[u8],
    value: &'a [u8],
) -> Result<(CommitNumber, &'a [u8]), ReadError> {
    match value.split_first_chunk() {
        Some((commit, value)) => Ok((CommitNumber(u64::from_be_bytes(*commit)), value)),
        None => Err(damaged(Space::Rows, key, "the value has another form")),
    }
}

pub(crate) fn message_key(message: MessageId) -> Vec<u8> {
    message.0.to_be_bytes().to_vec()
}

pub(crate) fn read_message_key(space: Space, key: &[u8]) -> Result<MessageId, ReadError> {
    let number = key.try_into().map(u64::from_be_bytes);
    number.map(MessageId).map_err(|_| damaged(space, key, "the key has another form"))
}

/// Value of an inbox row: everything of a kept payload but the payload.
pub(crate) fn inbox_value(
    payload: &KeptPayload,
    commit: CommitNumber,
    changed: CommitNumber,
    state: KeptState,
    outcome: &[u8],
) -> Vec<u8> {
    Out::with_capacity(39 + payload.meta_sealed.len() + outcome.len())
        .u8(LAYOUT)
        .u64(commit.0)
        .u32(payload.organization)
        .i64(payload.received.millis())
        .u8(payload.format)
        .u8(state as u8)
        .u64(changed.0)
        .bytes(&payload.meta_sealed)
        .bytes(outcome)
        .done()
}

/// The same row with another state and outcome.
pub(crate) fn inbox_value_of(row: &KeptRow) -> Vec<u8> {
    let payload = KeptPayload {
        organization: row.organization,
        received: row.received,
        format: row.format,
        meta_sealed: row.meta_sealed.clone(),
        payload_sealed: Vec::new(),
    };
    inbox_value(&payload, row.commit, row.changed, row.state, &row.outcome)
}

pub(crate) fn read_inbox(key: &[u8], value: &[u8]) -> Result<KeptRow, ReadError> {
    let message = read_message_key(Space::Inbox, key)?;
    let parse = || {
        let mut fields = In::new(value);
        (fields.u8()? == LAYOUT).then_some(())?;
        let row = KeptRow {
            message,
            commit: CommitNumber(fields.u64()?),
            organization: fields.u32()?,
            received: Timestamp::from_millis(fields.i64()?),
            format: fields.u8()?,
            state: KeptState::from_number(fields.u8()?)?,
            changed: CommitNumber(fields.u64()?),
            meta_sealed: fields.bytes()?.to_vec(),
            outcome: fields.bytes()?.to_vec(),
        };
        fields.end()?;
        Some(row)
    };
    parse().ok_or_else(|| damaged(Space::Inbox, key, "the value has another form"))
}

fn flag(byte: u8) -> Option<bool> {
    match byte {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

pub(crate) fn damaged(space: Space, key: &[u8], what: &'static str) -> ReadError {
    ReadError::Damaged { place: place(space, key), what }
}

/// A keyspace and key as errors name them.
pub(crate) fn place(space: Space, key: &[u8]) -> String {
    let mut text = format!("{} ", space.name());
    key.iter().for_each(|byte| text.push_str(&format!("{byte:02x}")));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_versions_come_first_and_resources_do_not_mix() {
        let key = ResourceKey {
            organization: 1,
            patient: PatientId::from_bytes([7; 16]),
            type_code: 3,
            id_token: [0xff; 16],
        };
        let next = ResourceKey { type_code: 4, id_token: [0; 16], ..key };
        let at = |key: &ResourceKey, t| version_key(&resource_bytes(key), CommitNumber(t));
        assert!(at(&key, 256) < at(&key, 255));
        assert!(at(&key, 0) < at(&next, u64::MAX));
        assert_eq!(
            read_version_key(Space::Index, &at(&key, 9)).expect("a version key"),
            (key, CommitNumber(9))
        );
        assert!(read_version_key(Space::Index, &at(&key, 9)[1..]).is_err());
    }

    #[test]
    fn a_patients_rows_lie_in_one_shard_and_patients_in_many() {
        let at = |patient: u8, type_code, token, t| {
            let patient = PatientId::from_bytes([patient; 16]);
            let key = ResourceKey { organization: 1, patient, type_code, id_token: [token; 16] };
            version_key(&resource_bytes(&key), CommitNumber(t))
        };
        let one = shard_of(Space::Index, &at(1, 1, 1, 1));
        assert_eq!(one, shard_of(Space::Index, &at(1, 9, 7, 300)));
        assert_eq!(one, shard_of(Space::Bodies, &at(1, 2, 3, 4)));
        let shards: std::collections::BTreeSet<u8> =
            (0..=255).map(|patient| shard_of(Space::Index, &at(patient, 1, 1, 1))).collect();
        assert!(shards.len() > usize::from(SHARDS) / 2, "{}", shards.len());
    }

    #[test]
    fn the_end_of_a_prefix_is_the_next_prefix() {
        assert_eq!(after_prefix(&[1, 2]), Some(vec![1, 3]));
        assert_eq!(after_prefix(&[1, 0xff]), Some(vec![2]));
        assert_eq!(after_prefix(&[0xff, 0xff]), None);
        assert_eq!(after_prefix(&[]), None);
    }
}
