//! The worked examples of `docs/storage.md` are what the code writes.

use holdfast_base::{CommitNumber, ElementClass, MessageId, PatientId, Timestamp};

use crate::chain::{CommitRow, Position};
use crate::layout;
use crate::model::{KeptPayload, KeptState, ResourceKey, SealedVersion};
use crate::transaction::Table;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn examples() -> Vec<(&'static str, String)> {
    let key = ResourceKey {
        organization: 3,
        patient: PatientId::from_bytes([0x11; 16]),
        type_code: 12,
        id_token: [0xaa; 16],
    };
    let sealed = SealedVersion {
        version: 2,
        deleted: false,
        last_updated: Timestamp::from_millis(1_432_598_400_007),
        parts: vec![
            (ElementClass::Identity, vec![0xc0, 0xc1, 0xc2]),
            (ElementClass::GovernmentId, vec![0xd0]),
        ],
        index: vec![0xe0, 0xe1],
        id_sealed: vec![0xf0],
    };
    let kept = KeptPayload {
        organization: 3,
        received: Timestamp::from_millis(1_432_598_400_007),
        format: 1,
        meta_sealed: vec![0xb0, 0xb1],
        payload_sealed: vec![],
    };
    let resource = layout::resource_bytes(&key);
    let genesis = Position::genesis(&[0x5a; 16]);
    let commit = CommitRow {
        position: genesis.next(&[0x77; 32], MessageId(1)),
        digest: [0x77; 32],
        finished: MessageId(1),
        puts: vec![resource],
        rows: [(layout::row_key(Table::Dedupe, &[0x9a, 0x9b, 0x9c]), true)].into(),
        ordered: true,
    };
    let t = CommitNumber(300);
    let inbox = layout::inbox_value(&kept, t, CommitNumber(301), KeptState::Accepted, &[0xb2]);
    vec![
        ("version key", hex(&layout::version_key(&resource, t))),
        ("index value", hex(&layout::index_value(&sealed))),
        ("body value", hex(&layout::body_value(&sealed))),
        ("row key", hex(&layout::row_key(Table::Dedupe, &[0x9a, 0x9b, 0x9c]))),
        ("row value", hex(&layout::row_value(t, &[0x6d, 0x6e]))),
        ("message key", hex(&layout::message_key(MessageId(5)))),
        ("inbox value", hex(&inbox)),
        ("genesis", hex(&genesis.chain)),
        ("commit key", hex(&CommitRow::key(commit.position.commit))),
        ("commit value", hex(&commit.value())),
    ]
}

#[test]
fn the_worked_examples_are_what_is_written() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/storage.md");
    let text = std::fs::read_to_string(path).expect("docs/storage.md is there");
    // Examples stand in code blocks, a field a line: `hex  meaning`.
    let shown: String = text
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| word.len() % 2 == 0 && word.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .collect();
    let missing: Vec<_> = examples().into_iter().filter(|(_, hex)| !shown.contains(hex)).collect();
    assert!(missing.is_empty(), "not in docs/storage.md: {missing:#?}");
}
