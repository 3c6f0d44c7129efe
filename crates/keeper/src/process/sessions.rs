//! Live sessions: found by the hash of what proves them, in memory. Idle and
//! lifetime limits hold here, whatever the front process thinks.

use std::collections::HashMap;

use holdfast_base::{OrganizationId, PrincipalId, SessionId, Timestamp};

use crate::people::{People, SessionKind, SessionRow};

/// Signed out after so long without a request (45 CFR 164.312(a)(2)(iii)).
pub(super) const IDLE_MS: i64 = 15 * 60_000;
/// Signed out after so long in any case: one working day.
pub(super) const LIFE_MS: i64 = 10 * 3_600_000;

struct Live {
    row: SessionRow,
    last_used: Timestamp,
}

impl Live {
    /// A vouched session is a connection of a machine and has no idle limit: the
    /// front process, which holds its token, could be vouched for anew.
    fn is_live(&self, now: Timestamp) -> bool {
        let idle = matches!(self.row.kind, SessionKind::Person { .. })
            && now.millis_since(self.last_used) >= IDLE_MS;
        !self.row.ended && now < self.row.expires && !idle
    }
}

/// Sessions, live and lately ended, and the last code of each person.
#[derive(Default)]
pub(super) struct Sessions {
    by_digest: HashMap<[u8; 32], Live>,
    last_steps: HashMap<PrincipalId, i64>,
}

impl Sessions {
    /// The sessions that are kept. Those of principals that are closed or suspended
    /// are over; when the others were used last is not known exactly: not after `now`.
    pub fn load(
        rows: Vec<SessionRow>,
        people: &People,
        is_barred: impl Fn(&SessionRow) -> bool,
        now: Timestamp,
    ) -> Self {
        let mut sessions = Self::default();
        for mut row in rows {
            if let SessionKind::Person { step } = row.kind {
                sessions.note_step(&row.principal, step);
            }
            let stays = people.open_one(&row.principal).is_some() && !is_barred(&row);
            row.ended |= !stays;
            sessions.by_digest.insert(row.digest, Live { row, last_used: now });
        }
        sessions
    }

    fn note_step(&mut self, principal: &PrincipalId, step: i64) -> bool {
        let last = self.last_steps.entry(principal.clone()).or_insert(i64::MIN);
        let fresh = step > *last;
        *last = step.max(*last);
        fresh
    }

    /// Whether the code of `step` is used for the first time; remembers it.
    pub fn is_first_use(&mut self, principal: &PrincipalId, step: i64) -> bool {
        self.note_step(principal, step)
    }

    /// The live session with this digest, which is thereby in use.
    pub fn use_one(&mut self, digest: &[u8; 32], now: Timestamp) -> Option<&SessionRow> {
        let live = self.by_digest.get_mut(digest).filter(|live| live.is_live(now))?;
        live.last_used = live.last_used.max(now);
        Some(&live.row)
    }

    /// The session with this digest, live or lately ended.
    pub fn row(&self, digest: &[u8; 32]) -> Option<&SessionRow> {
        self.by_digest.get(digest).map(|live| &live.row)
    }

    /// Takes a session whose row and entry are durable.
    pub fn insert(&mut self, row: SessionRow, now: Timestamp) {
        self.by_digest.insert(row.digest, Live { row, last_used: now });
    }

    /// Ends the session with this digest; gives its row as it has to be kept.
    pub fn end(&mut self, digest: &[u8; 32]) -> Option<SessionRow> {
        let live = self.by_digest.get_mut(digest).filter(|live| !live.row.ended)?;
        live.row.ended = true;
        Some(live.row.clone())
    }

    /// Ends every session of `principal`; gives their rows as they have to be kept.
    pub fn end_all(&mut self, principal: &PrincipalId) -> Vec<SessionRow> {
        self.end_where(|row| row.principal == *principal)
    }

    /// Ends every session of those who work for `organization`, as
    /// [`end_all`](Self::end_all) does.
    pub fn end_all_of(&mut self, organization: &OrganizationId) -> Vec<SessionRow> {
        self.end_where(|row| row.organization == *organization)
    }

    fn end_where(&mut self, of: impl Fn(&SessionRow) -> bool) -> Vec<SessionRow> {
        let ending = self.by_digest.values_mut().filter(|live| !live.row.ended && of(&live.row));
        ending
            .map(|live| {
                live.row.ended = true;
                live.row.clone()
            })
            .collect()
    }

    /// Lets go what would have ended by now in any case; gives the ids.
    pub fn sweep(&mut self, now: Timestamp) -> Vec<SessionId> {
        let over = self.by_digest.values().filter(|live| now >= live.row.expires);
        let over: Vec<SessionId> = over.map(|live| live.row.id).collect();
        self.by_digest.retain(|_, live| now < live.row.expires);
        over
    }
}
