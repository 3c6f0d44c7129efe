//! The HL7 v2 messages of the stream: ADT, ORU, MDM and VXU.

use jiff::civil::{Date, DateTime};

use crate::clinical::{Condition, Vaccine};
use crate::community::{Member, Organization};
use crate::hl7::{
    Message, clinician, day, entity, escape, event, header, name, numbered, patient, stamp,
};
use crate::labs::{Measured, Panel};
use crate::registration::Registration;
use crate::report::Report;

/// An encounter that messages speak of.
pub(crate) struct Visit<'a> {
    pub(crate) number: String,
    pub(crate) at: DateTime,
    /// HL7 table 0004: `O`, `I` or `E`.
    pub(crate) class: &'static str,
    /// PL: point of care, room, bed.
    pub(crate) location: String,
    pub(crate) attending: &'a Member,
    pub(crate) reason: Option<&'static Condition>,
}

/// Adds PV1; `discharged` for a visit that is over.
fn visit_segment(
    message: &mut Message,
    organization: &Organization,
    visit: &Visit<'_>,
    discharged: Option<DateTime>,
) {
    let mut fields = vec![
        (1, "1".into()),
        (2, visit.class.into()),
        (3, format!("{}^{}", visit.location, organization.facility)),
        (7, clinician(visit.attending)),
        (10, if visit.class == "I" { "MED" } else { "FAM" }.into()),
        (19, numbered(organization, &visit.number, "VN")),
        (44, stamp(visit.at)),
    ];
    if visit.class == "E" {
        fields.push((4, "E".into()));
    }
    if let Some(at) = discharged {
        fields.push((36, "01".into()));
        fields.push((45, stamp(at)));
    }
    message.segment("PV1", &fields);
}

/// What an ADT message says beside who the patient is.
pub(crate) struct Admission<'a> {
    /// `A01`, `A03`, `A04` or `A08`.
    pub(crate) trigger: &'static str,
    /// When it happened.
    pub(crate) at: DateTime,
    pub(crate) control: String,
    pub(crate) visit: &'a Visit<'a>,
    pub(crate) discharged: Option<DateTime>,
    /// PD1-4: the family physician.
    pub(crate) primary: Option<&'a Member>,
}

/// ADT A01, A03, A04 or A08 (HL7 v2.5.1, chapter 3.3).
pub(crate) fn admission(registration: &Registration<'_>, said: &Admission<'_>) -> Vec<u8> {
    let organization = registration.organization;
    let structure = if said.trigger == "A03" { "ADT_A03" } else { "ADT_A01" };
    let mut message = Message::default();
    let kind = format!("ADT^{}^{structure}", said.trigger);
    header(&mut message, organization, &kind, &said.control, said.at);
    event(&mut message, said.trigger, said.at);
    patient(&mut message, registration, &said.visit.number);
    if let Some(primary) = said.primary {
        message.segment("PD1", &[(4, clinician(primary))]);
    }
    if said.trigger != "A03" {
        let (name, code, text) = &registration.person.contact;
        message.segment(
            "NK1",
            &[
                (1, "1".into()),
                (2, escape(name).replace("\\S\\", "^")),
                (3, format!("{code}^{text}^HL70063")),
            ],
        );
    }
    visit_segment(&mut message, organization, said.visit, said.discharged);
    if said.visit.class != "O" {
        let reason = said.visit.reason.map_or("Observation", |condition| condition.name);
        message.segment("PV2", &[(3, format!("^{}", escape(reason)))]);
    }
    if let Some(allergy) = registration.person.allergy {
        message.segment(
            "AL1",
            &[
                (1, "1".into()),
                (2, "DA^Drug allergy^HL70127".into()),
                (3, format!("{}^{}^RXNORM", allergy.rxnorm, allergy.name)),
                (4, format!("{}^^HL70128", allergy.severity)),
                (5, allergy.reaction.1.into()),
            ],
        );
    }
    if let Some(reason) = said.visit.reason {
        message.segment(
            "DG1",
            &[
                (1, "1".into()),
                (3, format!("{}^{}^I10C", reason.icd10, escape(reason.icd10_text))),
                (5, stamp(said.at)),
                (6, if said.trigger == "A03" { "F" } else { "W" }.into()),
                (15, "1".into()),
            ],
        );
    }
    message.into_bytes()
}

/// ADT A40: the record `retired` is merged into the registration's record
/// (HL7 v2.5.1, chapter 3.3.40).
pub(crate) fn merge(
    registration: &Registration<'_>,
    retired: &Registration<'_>,
    control: &str,
    account: &str,
    at: DateTime,
) -> Vec<u8> {
    let organization = registration.organization;
    let mut message = Message::default();
    header(&mut message, organization, "ADT^A40^ADT_A39", control, at);
    event(&mut message, "A40", at);
    patient(&mut message, registration, account);
    message.segment("MRG", &[(1, numbered(organization, &retired.mrn, "MR")), (7, name(retired))]);
    message.into_bytes()
}

/// An order and its result.
pub(crate) struct Order<'a> {
    pub(crate) control: String,
    pub(crate) placer: String,
    pub(crate) filler: String,
    pub(crate) panel: Panel,
    pub(crate) rows: &'a [Measured],
    pub(crate) comment: Option<&'a str>,
    pub(crate) ordering: &'a Member,
    /// Who placed the order.
    pub(crate) placed_by: &'a Organization,
    pub(crate) collected: DateTime,
    pub(crate) reported: DateTime,
    /// `F` final, `C` corrected (HL7 table 0123).
    pub(crate) status: &'static str,
    pub(crate) visit: Option<&'a Visit<'a>>,
}

/// ORU R01 (HL7 v2.5.1, chapter 7.3.1).
pub(crate) fn result(registration: &Registration<'_>, order: &Order<'_>) -> Vec<u8> {
    let organization = registration.organization;
    let mut message = Message::default();
    header(&mut message, organization, "ORU^R01^ORU_R01", &order.control, order.reported);
    let account = order.visit.map_or("", |visit| visit.number.as_str());
    patient(&mut message, registration, account);
    if let Some(visit) = order.visit {
        visit_segment(&mut message, organization, visit, None);
    }
    let placer = entity(order.placed_by, &order.placer);
    let filler = entity(organization, &order.filler);
    message.segment(
        "ORC",
        &[
            (1, "RE".into()),
            (2, placer.clone()),
            (3, filler.clone()),
            (5, "CM".into()),
            (12, clinician(order.ordering)),
        ],
    );
    let [loinc, text, local, local_text, section] = order.panel.code();
    message.segment(
        "OBR",
        &[
            (1, "1".into()),
            (2, placer),
            (3, filler),
            (4, format!("{loinc}^{text}^LN^{local}^{local_text}^L")),
            (7, stamp(order.collected)),
            (16, clinician(order.ordering)),
            (22, stamp(order.reported)),
            (24, section.into()),
            (25, order.status.into()),
        ],
    );
    if let Some(comment) = order.comment {
        note(&mut message, comment);
    }
    for (place, row) in order.rows.iter().enumerate() {
        let analyte = row.analyte;
        let mut fields = vec![
            (1, (place + 1).to_string()),
            (2, "NM".into()),
            (3, format!("{}^{}^LN", analyte.loinc, escape(analyte.name))),
            (5, row.text()),
            (6, format!("{0}^{0}^UCUM", escape(analyte.unit))),
            (7, row.range()),
            (11, order.status.into()),
            (14, stamp(order.collected)),
            (19, stamp(order.reported)),
            (23, format!("{}^D", organization.name)),
        ];
        if analyte.low.is_some() || analyte.high.is_some() {
            fields.push((8, row.flag().into()));
        }
        message.segment("OBX", &fields);
    }
    let (code, text) = order.panel.specimen();
    message.segment(
        "SPM",
        &[
            (1, "1".into()),
            (2, format!("^{}&{}", order.filler, organization.facility)),
            (4, format!("{code}^{text}^HL70487")),
            (17, stamp(order.collected)),
        ],
    );
    message.into_bytes()
}

fn note(message: &mut Message, text: &str) {
    message.segment("NTE", &[(1, "1".into()), (2, "L".into()), (3, escape(text))]);
}

/// A dictated report on its way to the record.
pub(crate) struct Dictation<'a> {
    pub(crate) control: String,
    pub(crate) document: String,
    pub(crate) report: &'a Report,
    pub(crate) author: &'a Member,
    pub(crate) transcriptionist: &'a str,
    pub(crate) visit: &'a Visit<'a>,
    pub(crate) dictated: DateTime,
    pub(crate) transcribed: DateTime,
    /// `AU` authenticated or `DO` documented (HL7 table 0271).
    pub(crate) status: &'static str,
}

/// MDM T02: original document notification and content (HL7 v2.5.1, chapter
/// 9.6.2). A section of the report is an OBX.
pub(crate) fn document(registration: &Registration<'_>, dictation: &Dictation<'_>) -> Vec<u8> {
    let organization = registration.organization;
    let report = dictation.report;
    let mut message = Message::default();
    let control = &dictation.control;
    header(&mut message, organization, "MDM^T02^MDM_T02", control, dictation.transcribed);
    event(&mut message, "T02", dictation.transcribed);
    patient(&mut message, registration, &dictation.visit.number);
    visit_segment(&mut message, organization, dictation.visit, None);
    let fields = [
        (1, "1".into()),
        (2, format!("{}^{}^HL70270", report.kind.type_code(), report.kind.title())),
        (3, "FT".into()),
        (4, stamp(dictation.dictated)),
        (5, clinician(dictation.author)),
        (6, stamp(dictation.dictated)),
        (7, stamp(dictation.transcribed)),
        (9, clinician(dictation.author)),
        (11, dictation.transcriptionist.into()),
        (12, entity(organization, &dictation.document)),
        (17, dictation.status.into()),
        (19, "AV".into()),
    ];
    message.segment("TXA", &fields);
    for (place, section) in report.sections.iter().enumerate() {
        let text = format!("{}:\n{}", section.heading, section.sentences.join(" "));
        message.segment(
            "OBX",
            &[
                (1, (place + 1).to_string()),
                (2, "FT".into()),
                (3, format!("{}^{}^LN", report.kind.loinc(), report.kind.title())),
                (5, escape(&text)),
                (11, "F".into()),
                (14, stamp(dictation.dictated)),
            ],
        );
    }
    message.into_bytes()
}

/// One dose given.
pub(crate) struct Dose<'a> {
    pub(crate) vaccine: &'static Vaccine,
    pub(crate) order: String,
    pub(crate) lot: String,
    pub(crate) expires: Date,
    pub(crate) ordering: &'a Member,
    /// HL7 table 0163, with text.
    pub(crate) site: (&'static str, &'static str),
}

/// VXU V04 (HL7 v2.5.1 Implementation Guide for Immunization Messaging, r1.5).
pub(crate) fn vaccination(
    registration: &Registration<'_>,
    doses: &[Dose<'_>],
    control: &str,
    at: DateTime,
) -> Vec<u8> {
    let organization = registration.organization;
    let mut message = Message::default();
    header(&mut message, organization, "VXU^V04^VXU_V04", control, at);
    patient(&mut message, registration, "");
    for dose in doses {
        let vaccine = dose.vaccine;
        message.segment(
            "ORC",
            &[
                (1, "RE".into()),
                (3, entity(organization, &dose.order)),
                (12, clinician(dose.ordering)),
            ],
        );
        message.segment(
            "RXA",
            &[
                (1, "0".into()),
                (2, "1".into()),
                (3, stamp(at)),
                (4, stamp(at)),
                (5, format!("{}^{}^CVX", vaccine.cvx, escape(vaccine.name))),
                (6, vaccine.dose_ml.into()),
                (7, "mL^mL^UCUM".into()),
                (9, "00^New immunization record^NIP001".into()),
                (10, clinician(dose.ordering)),
                (11, format!("^^^{}", organization.facility)),
                (15, dose.lot.clone()),
                (16, day(dose.expires)),
                (17, format!("{}^{}^MVX", vaccine.mvx.0, escape(vaccine.mvx.1))),
                (20, "CP".into()),
                (21, "A".into()),
            ],
        );
        message.segment(
            "RXR",
            &[
                (1, format!("{}^{}^NCIT", vaccine.route.0, vaccine.route.1)),
                (2, format!("{}^{}^HL70163", dose.site.0, dose.site.1)),
            ],
        );
    }
    message.into_bytes()
}
