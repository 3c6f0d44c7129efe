//! Brings an older store forward, in place: schema by schema, in rounds that each
//! are one engine batch with a note of how far it came. A start that was killed in
//! the middle goes on where it stopped.

use crate::codec::{In, Out};
use crate::engine::{Bytes, Durability, Engine, EngineError, Space, View, Write};
use crate::error::{OpenError, ReadError};
use crate::layout::damaged;
use crate::past::note_key;

/// One round of a step.
pub(crate) struct Round {
    pub writes: Vec<Write>,
    /// Where the next round begins; `None` when the step is done.
    pub next: Option<Vec<u8>>,
}

/// Does some work from a place on.
type RoundOf = fn(&dyn View, Option<&[u8]>) -> Result<Round, ReadError>;

/// From one schema to the next.
pub(crate) struct Step {
    /// The schema that it starts from.
    pub from: u32,
    /// Some work, beginning at where the round before said; at first, nowhere.
    /// Sees what the rounds before wrote. Bounded: some thousand rows.
    pub round: RoundOf,
}

/// The steps to [`SCHEMA`](crate::SCHEMA), oldest first.
pub(crate) const STEPS: &[Step] = &[
    // 2: keeps what is written over (`past`); digests follow the order of keys.
    // Older commits stay as they are: their rows say so.
    Step { from: 1, round: |_, _| Ok(Round { writes: Vec::new(), next: None }) },
];

/// Runs `steps` from schema `found` to `to`; `reached` makes a schema's number
/// durable in the store's format.
pub(crate) fn run(
    engine: &dyn Engine,
    found: u32,
    to: u32,
    steps: &[Step],
    mut reached: impl FnMut(u32) -> Result<(), OpenError>,
) -> Result<(), OpenError> {
    let note = note_key("upgrade");
    for from in found..to {
        let Some(step) = steps.iter().find(|step| step.from == from) else {
            return Err(OpenError::Damaged {
                place: "format".to_owned(),
                what: "no step leads from its schema to this one",
            });
        };
        tracing::info!(from, to = from + 1, "the store is brought forward");
        let mut at = progress(engine.view().as_ref(), &note, from)?;
        loop {
            if at == Progress::Done {
                break;
            }
            let view = engine.view();
            let Round { mut writes, next } = (step.round)(view.as_ref(), at.place())?;
            at = next.map_or(Progress::Done, Progress::At);
            let value = Some(at.note(from));
            writes.push(Write { space: Space::Past, key: note.clone(), value });
            let written = engine.write(&writes, Durability::Synced);
            written.map_err(|error| OpenError::Engine(EngineError::new(error)))?;
        }
        reached(from + 1)?;
    }
    Ok(())
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Progress {
    Begin,
    At(Vec<u8>),
    Done,
}

impl Progress {
    fn place(&self) -> Option<&[u8]> {
        match self {
            Self::At(place) => Some(place),
            _ => None,
        }
    }

    /// Schema, whether the step is done, and where the next round begins.
    fn note(&self, from: u32) -> Bytes {
        let done = u8::from(*self == Self::Done);
        let place = self.place().unwrap_or_default();
        Out::default().u32(from).u8(done).bytes(place).done().into()
    }
}

fn progress(view: &dyn View, note: &[u8], from: u32) -> Result<Progress, ReadError> {
    let Some(value) = view.get(Space::Past, note)? else { return Ok(Progress::Begin) };
    let mut fields = In::new(&value);
    let parsed = (|| Some((fields.u32()?, fields.u8()?, fields.bytes()?.to_vec())))();
    match parsed {
        // Left by an earlier step.
        Some((schema, ..)) if schema != from => Ok(Progress::Begin),
        Some((_, 0, place)) => Ok(Progress::At(place)),
        Some(_) => Ok(Progress::Done),
        None => Err(damaged(Space::Past, note, "the value has another form")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{FjallEngine, WriteError};

    /// Doubles every row of a made-up schema, five rows a round.
    fn double(view: &dyn View, from: Option<&[u8]>) -> Result<Round, ReadError> {
        let mut writes = Vec::new();
        let mut rows = view.scan(Space::Rows, from.unwrap_or_default(), None);
        for row in rows.by_ref().take(5) {
            let (key, value) = row?;
            let doubled = value.iter().map(|byte| byte * 2).collect::<Vec<u8>>();
            let (space, key) = (Space::Rows, key.to_vec());
            writes.push(Write { space, key, value: Some(doubled.into()) });
        }
        let next = rows.next().transpose()?.map(|(key, _)| key.to_vec());
        Ok(Round { writes, next })
    }

    const DOUBLINGS: &[Step] = &[Step { from: 1, round: double }, Step { from: 2, round: double }];

    /// Fails before the write with this number.
    struct Stops<'a> {
        engine: &'a FjallEngine,
        left: std::sync::atomic::AtomicU32,
    }

    impl Engine for Stops<'_> {
        fn view(&self) -> Box<dyn View> {
            self.engine.view()
        }

        fn write(&self, writes: &[Write], durability: Durability) -> Result<(), WriteError> {
            use std::sync::atomic::Ordering::SeqCst;
            let left = self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
            left.map_err(|_| WriteError::Broken(EngineError::new("stopped")))?;
            self.engine.write(writes, durability)
        }
    }

    fn values(engine: &FjallEngine) -> Vec<u8> {
        let view = engine.view();
        let rows = view.scan(Space::Rows, &[], None);
        rows.map(|row| row.expect("reads").1[0]).collect()
    }

    #[test]
    fn an_upgrade_that_was_stopped_anywhere_goes_on_and_does_nothing_twice() {
        // Two steps over 12 rows, 5 a round: 3 writes each.
        for stop in 0..6 {
            let dir = tempfile::tempdir().expect("a folder");
            let engine = FjallEngine::open(dir.path()).expect("opens");
            let row = |key: u8| Write {
                space: Space::Rows,
                key: vec![key],
                value: Some(vec![key].into()),
            };
            let rows: Vec<Write> = (0..12).map(row).collect();
            engine.write(&rows, Durability::Buffered).expect("writes");
            let mut schema = 1;
            let stops = Stops { engine: &engine, left: stop.into() };
            let stopped = run(&stops, schema, 3, DOUBLINGS, |now| {
                schema = now;
                Ok(())
            });
            assert!(matches!(stopped, Err(OpenError::Engine(_))), "stopped at {stop}");
            run(&engine, schema, 3, DOUBLINGS, |now| {
                schema = now;
                Ok(())
            })
            .expect("goes on");
            assert_eq!(schema, 3);
            assert_eq!(values(&engine), (0..12).map(|key| key * 4).collect::<Vec<u8>>());
        }
    }

    #[test]
    fn a_stop_between_the_last_round_and_the_format_repeats_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let engine = FjallEngine::open(dir.path()).expect("opens");
        let row = Write { space: Space::Rows, key: vec![1], value: Some(vec![1].into()) };
        engine.write(&[row], Durability::Buffered).expect("writes");
        let refuse = |_| {
            let (place, what) = (String::new(), "the format cannot be written");
            Err(OpenError::Damaged { place, what })
        };
        run(&engine, 1, 2, DOUBLINGS, refuse).expect_err("stopped");
        run(&engine, 1, 2, DOUBLINGS, |_| Ok(())).expect("goes on");
        assert_eq!(values(&engine), [2]);
    }

    #[test]
    fn every_schema_has_its_step() {
        let froms: Vec<u32> = STEPS.iter().map(|step| step.from).collect();
        assert_eq!(froms, (1..crate::SCHEMA).collect::<Vec<u32>>());
    }
}
