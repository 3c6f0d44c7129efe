//! The segments of a message in the groups that belong together.
//!
//! Tolerant of order: a segment goes to the group that is open, and to the
//! message as a whole when none is.

use crate::hl7v2::{Message, Segment};

/// An OBX and the notes below it.
#[derive(Clone)]
pub(super) struct Finding<'m> {
    pub obx: Segment<'m>,
    pub notes: Vec<Segment<'m>>,
}

/// ORC, OBR or RXA, and what follows up to the next.
#[derive(Default, Clone)]
pub(super) struct Order<'m> {
    pub orc: Option<Segment<'m>>,
    pub obr: Option<Segment<'m>>,
    pub rxa: Option<Segment<'m>>,
    pub rxr: Option<Segment<'m>>,
    pub notes: Vec<Segment<'m>>,
    pub findings: Vec<Finding<'m>>,
    pub specimens: Vec<Segment<'m>>,
}

/// All groups of a message.
#[derive(Default)]
pub(super) struct Groups<'m> {
    pub orders: Vec<Order<'m>>,
    /// OBX that belong to no order: of the visit, or of a document.
    pub findings: Vec<Finding<'m>>,
    /// NTE that belong to nothing of the above.
    pub notes: Vec<Segment<'m>>,
}

impl<'m> Groups<'m> {
    pub fn of(message: &'m Message<'m>) -> Self {
        let mut groups = Groups::default();
        // Orders after a TXA belong to the document: its OBX are the document's.
        let document = message.segment("TXA").is_some();
        for segment in message.segments() {
            match segment.name() {
                "ORC" => {
                    groups.orders.push(Order { orc: Some(segment), ..Order::default() });
                }
                "OBR" => {
                    groups.open(|order| order.obr.is_none() && order.rxa.is_none()).obr =
                        Some(segment)
                }
                "RXA" => {
                    groups.open(|order| order.rxa.is_none() && order.obr.is_none()).rxa =
                        Some(segment)
                }
                "RXR" => match groups.orders.last_mut() {
                    Some(order) if order.rxr.is_none() => order.rxr = Some(segment),
                    _ => {}
                },
                "SPM" => match groups.orders.last_mut() {
                    Some(order) => order.specimens.push(segment),
                    None => groups.open(|_| false).specimens.push(segment),
                },
                "OBX" => {
                    let finding = Finding { obx: segment, notes: Vec::new() };
                    match groups.orders.last_mut() {
                        Some(order) if !document => order.findings.push(finding),
                        _ => groups.findings.push(finding),
                    }
                }
                "NTE" => groups.note(segment, document),
                _ => {}
            }
        }
        groups
    }

    /// The last order if it `fits`, a new one otherwise.
    fn open(&mut self, fits: impl Fn(&Order<'m>) -> bool) -> &mut Order<'m> {
        if !self.orders.last().is_some_and(fits) {
            self.orders.push(Order::default());
        }
        let last = self.orders.len() - 1;
        &mut self.orders[last]
    }

    fn note(&mut self, segment: Segment<'m>, document: bool) {
        let findings = match self.orders.last_mut() {
            Some(order) if !document => {
                if order.findings.is_empty() {
                    order.notes.push(segment);
                    return;
                }
                &mut order.findings
            }
            _ => &mut self.findings,
        };
        match findings.last_mut() {
            Some(finding) => finding.notes.push(segment),
            None => self.notes.push(segment),
        }
    }
}
