//! What a message says happened: MSH-9 and its consequences.

use super::Conversion;
use crate::converted::{Notice, NoticeKind, Refusal};
use crate::hl7v2::Message;

/// Message type and trigger, upper case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub message_type: String,
    pub trigger: String,
}

impl Event {
    /// MSH-9; the trigger may be missing, or stand in EVN-1 only (before 2.3).
    pub fn of(message: &Message<'_>) -> Result<Self, Refusal> {
        let message_type = message
            .message_type()
            .ok_or_else(|| Refusal::Missing { what: "message type", place: "MSH-9".to_owned() })?;
        match message_type.as_str() {
            "ACK" | "MCF" | "RSP" | "NAK" | "NMR" => {
                return Err(Refusal::Unsupported {
                    what: "an acknowledgement or answer as a message",
                });
            }
            "QRY" | "QBP" | "QCK" | "QVR" | "VXQ" | "OSQ" | "DSR" => {
                return Err(Refusal::Unsupported { what: "a query message" });
            }
            "MFN" | "MFQ" | "MFD" | "MFK" | "NMQ" | "NMD" => {
                return Err(Refusal::Unsupported { what: "a master file or network message" });
            }
            _ => {}
        }
        let evn = message.segment("EVN").and_then(|evn| evn.field(1).value());
        let trigger = message.trigger().or(evn.map(|text| text.to_ascii_uppercase()));
        Ok(Self { message_type, trigger: trigger.unwrap_or_default() })
    }

    pub fn is_adt(&self) -> bool {
        self.message_type == "ADT"
    }

    fn is(&self, message_type: &str, triggers: &[&str]) -> bool {
        self.message_type == message_type && triggers.contains(&self.trigger.as_str())
    }

    /// Merges of whole patient records (A18, A30, A34, A36, A39, A40, A46, A47):
    /// MRG-1 names what ends.
    pub fn merges_patients(&self) -> bool {
        self.is("ADT", &["A18", "A30", "A34", "A36", "A39", "A40", "A46", "A47"])
    }

    /// Merges and moves below the patient: accounts and visits.
    pub fn merges_below_patient(&self) -> bool {
        self.is("ADT", &["A35", "A41", "A42", "A43", "A44", "A45", "A49", "A50", "A51"])
    }

    /// Orders, in which an OBR asks for something and reports nothing.
    pub fn is_order(&self) -> bool {
        matches!(
            self.message_type.as_str(),
            "ORM"
                | "OML"
                | "OMG"
                | "OMP"
                | "OMI"
                | "OMS"
                | "OPL"
                | "ORL"
                | "ORR"
                | "RDE"
                | "REF"
                | "SIU"
        )
    }

    fn notice_kind(&self, has_report: bool) -> Option<NoticeKind> {
        match (self.message_type.as_str(), self.trigger.as_str()) {
            ("ADT", "A01" | "A06") => Some(NoticeKind::Admission),
            ("ADT", "A02") => Some(NoticeKind::Transfer),
            ("ADT", "A03") => Some(NoticeKind::Discharge),
            ("ADT", "A04") => Some(NoticeKind::Registration),
            ("MDM", "T02" | "T04" | "T06" | "T08" | "T10") => Some(NoticeKind::Report),
            ("ORU", _) if has_report => Some(NoticeKind::Result),
            _ => None,
        }
    }
}

impl Conversion<'_> {
    /// The notice of the message, if it is an occasion for one.
    pub(super) fn notice(&mut self) {
        let resources = &self.converted.resources;
        let has_report = resources.iter().any(|added| added.resource_type() == "DiagnosticReport");
        self.converted.notice = self
            .event
            .notice_kind(has_report)
            .map(|kind| Notice { kind, recipients_hint: std::mem::take(&mut self.recipients) });
    }
}
