//! Continuity of Care Documents (C-CDA R2.1, template 2.16.840.1.113883.10.20.22.1.2).

use jiff::civil::DateTime;

use crate::community::Member;
use crate::hl7::{day, stamp};
use crate::labs::Measured;
use crate::messages::Visit;
use crate::registration::Registration;
use crate::report::Report;

/// What a document says.
pub(crate) struct Summary<'a> {
    /// Extension of ClinicalDocument.id.
    pub(crate) document: String,
    pub(crate) at: DateTime,
    pub(crate) author: &'a Member,
    pub(crate) visit: &'a Visit<'a>,
    pub(crate) report: &'a Report,
    pub(crate) results: &'a [Measured],
    /// Systolic, diastolic (mm[Hg]) and pulse (/min).
    pub(crate) vitals: [i64; 3],
}

/// Escapes text for XML content and attribute values.
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

const SNOMED: &str = "codeSystem=\"2.16.840.1.113883.6.96\" codeSystemName=\"SNOMED CT\"";
const LOINC: &str = "codeSystem=\"2.16.840.1.113883.6.1\" codeSystemName=\"LOINC\"";
const RXNORM: &str = "codeSystem=\"2.16.840.1.113883.6.88\" codeSystemName=\"RxNorm\"";

/// The document as UTF-8 XML.
pub(crate) fn document(registration: &Registration<'_>, summary: &Summary<'_>) -> Vec<u8> {
    let mut out = String::with_capacity(16_384);
    out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    out.push_str("<ClinicalDocument xmlns=\"urn:hl7-org:v3\" xmlns:sdtc=\"urn:hl7-org:sdtc\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\n");
    header(&mut out, registration, summary);
    out.push_str("<component><structuredBody>\n");
    allergies(&mut out, registration, summary);
    medications(&mut out, registration, summary);
    problems(&mut out, registration, summary);
    results(&mut out, registration, summary);
    vitals(&mut out, registration, summary);
    narratives(&mut out, summary);
    out.push_str("</structuredBody></component>\n</ClinicalDocument>\n");
    out.into_bytes()
}

fn header(out: &mut String, registration: &Registration<'_>, summary: &Summary<'_>) {
    let organization = registration.organization;
    let (oid, at) = (organization.oid, stamp(summary.at));
    *out += &format!(
        r#"<realmCode code="US"/>
<typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>
<templateId root="2.16.840.1.113883.10.20.22.1.1" extension="2015-08-01"/>
<templateId root="2.16.840.1.113883.10.20.22.1.2" extension="2015-08-01"/>
<id root="{oid}.20" extension="{}"/>
<code code="34133-9" displayName="Summarization of Episode Note" {LOINC}/>
<title>{}: Continuity of Care Document</title>
<effectiveTime value="{at}"/>
<confidentialityCode code="N" codeSystem="2.16.840.1.113883.5.25"/>
<languageCode code="en-US"/>
"#,
        summary.document, organization.name
    );
    patient(out, registration);
    let author = person(summary.author);
    let custodian = represented(registration);
    *out += &format!(
        "<author><time value=\"{at}\"/><assignedAuthor>{author}{}</assignedAuthor></author>\n",
        custodian.replace("representedCustodianOrganization", "representedOrganization")
    );
    *out += &format!("<custodian><assignedCustodian>{custodian}</assignedCustodian></custodian>\n");
    *out += &format!(
        "<legalAuthenticator><time value=\"{at}\"/><signatureCode code=\"S\"/><assignedEntity>{author}</assignedEntity></legalAuthenticator>\n"
    );
    *out += &format!(
        "<documentationOf><serviceEvent classCode=\"PCPR\"><effectiveTime><low value=\"{0}\"/><high value=\"{at}\"/></effectiveTime><performer typeCode=\"PRF\"><assignedEntity>{author}</assignedEntity></performer></serviceEvent></documentationOf>\n",
        day(summary.visit.at.date())
    );
    *out += &format!(
        "<componentOf><encompassingEncounter><id root=\"{oid}.19\" extension=\"{}\"/><code code=\"AMB\" displayName=\"ambulatory\" codeSystem=\"2.16.840.1.113883.5.4\"/><effectiveTime><low value=\"{}\"/><high value=\"{at}\"/></effectiveTime></encompassingEncounter></componentOf>\n",
        summary.visit.number,
        stamp(summary.visit.at)
    );
}

/// Identifier, address, telephone and name of a clinician.
fn person(member: &Member) -> String {
    format!(
        "<id root=\"2.16.840.1.113883.4.6\" extension=\"{}\"/><addr nullFlavor=\"NI\"/><telecom nullFlavor=\"NI\"/><assignedPerson><name><given>{}</given><family>{}</family><suffix>{}</suffix></name></assignedPerson>",
        member.npi.as_deref().unwrap_or_default(),
        member.given,
        member.family,
        member.degree
    )
}

fn represented(registration: &Registration<'_>) -> String {
    let organization = registration.organization;
    format!(
        "<representedCustodianOrganization><id root=\"2.16.840.1.113883.4.6\" extension=\"{}\"/><name>{}</name><telecom use=\"WP\" value=\"tel:+1-{}\"/><addr use=\"WP\"><streetAddressLine>{}</streetAddressLine><city>{}</city><state>{}</state><postalCode>{}</postalCode><country>US</country></addr></representedCustodianOrganization>",
        organization.npi,
        xml(organization.name),
        organization.phone,
        organization.street,
        organization.city,
        organization.state,
        organization.zip
    )
}

fn patient(out: &mut String, registration: &Registration<'_>) {
    let truth = registration.person;
    *out += "<recordTarget><patientRole>";
    *out += &format!(
        "<id root=\"{}\" extension=\"{}\"/>",
        registration.organization.oid, registration.mrn
    );
    if let Some(ssn) = &registration.ssn {
        *out += &format!("<id root=\"2.16.840.1.113883.4.1\" extension=\"{ssn}\"/>");
    }
    let unit =
        registration.address.unit.as_ref().map_or_else(String::new, |unit| {
            format!("<streetAddressLine>{unit}</streetAddressLine>")
        });
    *out += &format!(
        "<addr use=\"HP\"><streetAddressLine>{}</streetAddressLine>{unit}<city>{}</city><state>{}</state><postalCode>{}</postalCode><country>US</country></addr><telecom use=\"HP\" value=\"tel:+1-{}\"/>",
        xml(&registration.street),
        registration.city(),
        registration.address.state,
        registration.address.zip,
        registration.phone
    );
    if let Some(mobile) = &registration.mobile {
        *out += &format!("<telecom use=\"MC\" value=\"tel:+1-{mobile}\"/>");
    }
    if let Some(email) = &registration.email {
        *out += &format!("<telecom value=\"mailto:{}\"/>", xml(email));
    }
    let middle = if registration.middle.is_empty() {
        String::new()
    } else {
        format!("<given>{}</given>", xml(&registration.middle))
    };
    let (code, text) = if truth.hispanic {
        ("2135-2", "Hispanic or Latino")
    } else {
        ("2186-5", "Not Hispanic or Latino")
    };
    *out += &format!(
        "<patient><name use=\"L\"><given>{}</given>{middle}<family>{}</family></name><administrativeGenderCode code=\"{}\" codeSystem=\"2.16.840.1.113883.5.1\"/><birthTime value=\"{}\"/><raceCode code=\"{}\" displayName=\"{}\" codeSystem=\"2.16.840.1.113883.6.238\"/><ethnicGroupCode code=\"{code}\" displayName=\"{text}\" codeSystem=\"2.16.840.1.113883.6.238\"/><languageCommunication><languageCode code=\"en\"/></languageCommunication></patient></patientRole></recordTarget>\n",
        xml(&registration.given),
        xml(&registration.family),
        truth.sex.code(),
        day(registration.birth),
        truth.race.0,
        truth.race.1
    );
}

/// Adds a section of the template `root`.
fn section(
    out: &mut String,
    root: &str,
    code: (&str, &str),
    title: &str,
    narrative: &str,
    entries: &str,
) {
    *out += &format!("<component><section><templateId root=\"{root}\" extension=\"2015-08-01\"/>");
    *out += &format!(
        "<code code=\"{}\" displayName=\"{}\" {LOINC}/><title>{title}</title><text>{narrative}</text>{entries}</section></component>\n",
        code.0, code.1
    );
}

/// Identifier of an entry: stable for the document and place.
fn entry_id(registration: &Registration<'_>, extension: &str) -> String {
    format!("<id root=\"{}.21\" extension=\"{extension}\"/>", registration.organization.oid)
}

fn list(items: &[String]) -> String {
    if items.is_empty() {
        return "<paragraph>None known.</paragraph>".to_owned();
    }
    let items: String = items.iter().map(|item| format!("<item>{}</item>", xml(item))).collect();
    format!("<list>{items}</list>")
}

/// When the thing at `place` of a list began: two thirds of the person's life
/// before the stream starts.
fn since(registration: &Registration<'_>, place: usize) -> String {
    let person = registration.person;
    let year =
        i64::from(person.birth.year()) + person.age_on(jiff::civil::date(2024, 12, 31)) * 2 / 3;
    format!("{:04}{:02}{:02}", year, 1 + (place * 5 + person.number as usize) % 12, 1 + place % 28)
}

fn allergies(out: &mut String, registration: &Registration<'_>, summary: &Summary<'_>) {
    let mut entries = String::new();
    let mut lines = Vec::new();
    if let Some(allergy) = registration.person.allergy {
        lines.push(format!("{}: {}", allergy.name, allergy.reaction.1));
        let at = since(registration, 3);
        entries = format!(
            "<entry typeCode=\"DRIV\"><act classCode=\"ACT\" moodCode=\"EVN\"><templateId root=\"2.16.840.1.113883.10.20.22.4.30\" extension=\"2015-08-01\"/>{id}<code code=\"CONC\" codeSystem=\"2.16.840.1.113883.5.6\"/><statusCode code=\"active\"/><effectiveTime><low value=\"{now}\"/></effectiveTime><entryRelationship typeCode=\"SUBJ\"><observation classCode=\"OBS\" moodCode=\"EVN\"><templateId root=\"2.16.840.1.113883.10.20.22.4.7\" extension=\"2014-06-09\"/>{id2}<code code=\"ASSERTION\" codeSystem=\"2.16.840.1.113883.5.4\"/><statusCode code=\"completed\"/><effectiveTime><low value=\"{at}\"/></effectiveTime><value xsi:type=\"CD\" code=\"416098002\" displayName=\"Allergy to drug\" {SNOMED}/><participant typeCode=\"CSM\"><participantRole classCode=\"MANU\"><playingEntity classCode=\"MMAT\"><code code=\"{}\" displayName=\"{}\" {RXNORM}/></playingEntity></participantRole></participant><entryRelationship typeCode=\"MFST\" inversionInd=\"true\"><observation classCode=\"OBS\" moodCode=\"EVN\"><templateId root=\"2.16.840.1.113883.10.20.22.4.9\" extension=\"2014-06-09\"/>{id3}<code code=\"ASSERTION\" codeSystem=\"2.16.840.1.113883.5.4\"/><statusCode code=\"completed\"/><value xsi:type=\"CD\" code=\"{}\" displayName=\"{}\" {SNOMED}/></observation></entryRelationship></observation></entryRelationship></act></entry>",
            allergy.rxnorm,
            allergy.name,
            allergy.reaction.0,
            allergy.reaction.1,
            id = entry_id(registration, &format!("{}-A", registration.mrn)),
            id2 = entry_id(registration, &format!("{}-AO", registration.mrn)),
            id3 = entry_id(registration, &format!("{}-AR", registration.mrn)),
            now = day(summary.at.date()),
        );
    }
    let template = "2.16.840.1.113883.10.20.22.2.6.1";
    let code = ("48765-2", "Allergies and adverse reactions Document");
    section(out, template, code, "Allergies and Intolerances", &list(&lines), &entries);
}

fn medications(out: &mut String, registration: &Registration<'_>, summary: &Summary<'_>) {
    let mut entries = String::new();
    let mut lines = Vec::new();
    let conditions = registration.person.conditions.iter().enumerate();
    for (place, medicine) in conditions.filter_map(|(n, c)| c.medicine.map(|m| (n, m))) {
        lines.push(format!("{} {}", medicine.name, medicine.dose));
        entries += &format!(
            "<entry typeCode=\"DRIV\"><substanceAdministration classCode=\"SBADM\" moodCode=\"EVN\"><templateId root=\"2.16.840.1.113883.10.20.22.4.16\" extension=\"2014-06-09\"/>{}<text>{}</text><statusCode code=\"active\"/><effectiveTime xsi:type=\"IVL_TS\"><low value=\"{}\"/></effectiveTime><routeCode code=\"C38288\" displayName=\"ORAL\" codeSystem=\"2.16.840.1.113883.3.26.1.1\"/><consumable><manufacturedProduct classCode=\"MANU\"><templateId root=\"2.16.840.1.113883.10.20.22.4.23\" extension=\"2014-06-09\"/><manufacturedMaterial><code code=\"{}\" displayName=\"{}\" {RXNORM}/></manufacturedMaterial></manufacturedProduct></consumable><author><time value=\"{}\"/><assignedAuthor>{}</assignedAuthor></author></substanceAdministration></entry>",
            entry_id(registration, &format!("{}-M{place}", registration.mrn)),
            xml(medicine.dose),
            since(registration, place),
            medicine.rxnorm,
            medicine.name,
            stamp(summary.at),
            person(summary.author)
        );
    }
    let template = "2.16.840.1.113883.10.20.22.2.1.1";
    let code = ("10160-0", "History of Medication use Narrative");
    section(out, template, code, "Medications", &list(&lines), &entries);
}

fn problems(out: &mut String, registration: &Registration<'_>, summary: &Summary<'_>) {
    let mut entries = String::new();
    let mut lines = Vec::new();
    for (place, condition) in registration.person.conditions.iter().enumerate() {
        lines.push(condition.name.to_owned());
        let low = since(registration, place);
        entries += &format!(
            "<entry typeCode=\"DRIV\"><act classCode=\"ACT\" moodCode=\"EVN\"><templateId root=\"2.16.840.1.113883.10.20.22.4.3\" extension=\"2015-08-01\"/>{}<code code=\"CONC\" codeSystem=\"2.16.840.1.113883.5.6\"/><statusCode code=\"active\"/><effectiveTime><low value=\"{low}\"/></effectiveTime><author><time value=\"{}\"/><assignedAuthor>{}</assignedAuthor></author><entryRelationship typeCode=\"SUBJ\"><observation classCode=\"OBS\" moodCode=\"EVN\"><templateId root=\"2.16.840.1.113883.10.20.22.4.4\" extension=\"2015-08-01\"/>{}<code code=\"64572001\" displayName=\"Condition\" {SNOMED}><translation code=\"75323-6\" displayName=\"Condition\" {LOINC}/></code><statusCode code=\"completed\"/><effectiveTime><low value=\"{low}\"/></effectiveTime><value xsi:type=\"CD\" code=\"{}\" displayName=\"{}\" {SNOMED}><translation code=\"{}\" displayName=\"{}\" codeSystem=\"2.16.840.1.113883.6.90\" codeSystemName=\"ICD-10-CM\"/></value></observation></entryRelationship></act></entry>",
            entry_id(registration, &format!("{}-P{place}", registration.mrn)),
            stamp(summary.at),
            person(summary.author),
            entry_id(registration, &format!("{}-PO{place}", registration.mrn)),
            condition.snomed,
            xml(condition.name),
            condition.icd10,
            xml(condition.icd10_text),
        );
    }
    let template = "2.16.840.1.113883.10.20.22.2.5.1";
    section(
        out,
        template,
        ("11450-4", "Problem list - Reported"),
        "Problems",
        &list(&lines),
        &entries,
    );
}

/// A measured value as observation of an organizer.
fn observation(
    registration: &Registration<'_>,
    template: &str,
    extension: &str,
    code: (&str, &str),
    at: &str,
    value: (&str, &str),
    rest: &str,
) -> String {
    format!(
        "<component><observation classCode=\"OBS\" moodCode=\"EVN\"><templateId root=\"{template}\"/>{}<code code=\"{}\" displayName=\"{}\" {LOINC}/><statusCode code=\"completed\"/><effectiveTime value=\"{at}\"/><value xsi:type=\"PQ\" value=\"{}\" unit=\"{}\"/>{rest}</observation></component>",
        entry_id(registration, extension),
        code.0,
        xml(code.1),
        value.0,
        xml(value.1)
    )
}

fn results(out: &mut String, registration: &Registration<'_>, summary: &Summary<'_>) {
    let at = stamp(summary.visit.at);
    let mut lines = Vec::new();
    let mut observations = String::new();
    for (place, row) in summary.results.iter().enumerate() {
        lines.push(format!("{}: {} {}", row.analyte.name, row.text(), row.analyte.unit));
        let flag = row.flag();
        let mut rest =
            format!("<interpretationCode code=\"{flag}\" codeSystem=\"2.16.840.1.113883.5.83\"/>");
        if let (Some(low), Some(high)) = (row.analyte.low, row.analyte.high) {
            let unit = xml(row.analyte.unit);
            rest += &format!(
                "<referenceRange><observationRange><value xsi:type=\"IVL_PQ\"><low value=\"{low}\" unit=\"{unit}\"/><high value=\"{high}\" unit=\"{unit}\"/></value></observationRange></referenceRange>"
            );
        }
        observations += &observation(
            registration,
            "2.16.840.1.113883.10.20.22.4.2",
            &format!("{}-R{place}", summary.document),
            (row.analyte.loinc, row.analyte.name),
            &at,
            (&row.text(), row.analyte.unit),
            &rest,
        );
    }
    let entries = if observations.is_empty() {
        String::new()
    } else {
        format!(
            "<entry typeCode=\"DRIV\"><organizer classCode=\"BATTERY\" moodCode=\"EVN\"><templateId root=\"2.16.840.1.113883.10.20.22.4.1\" extension=\"2015-08-01\"/>{}<code code=\"24348-5\" displayName=\"Thyroxine free (T4 free) and TSH panel - Serum or Plasma\" {LOINC}/><statusCode code=\"completed\"/><effectiveTime><low value=\"{at}\"/><high value=\"{at}\"/></effectiveTime>{observations}</organizer></entry>",
            entry_id(registration, &format!("{}-R", summary.document))
        )
    };
    let template = "2.16.840.1.113883.10.20.22.2.3.1";
    let code = ("30954-2", "Relevant diagnostic tests/laboratory data Narrative");
    section(out, template, code, "Results", &list(&lines), &entries);
}

fn vitals(out: &mut String, registration: &Registration<'_>, summary: &Summary<'_>) {
    let at = stamp(summary.visit.at);
    let [systolic, diastolic, pulse] = summary.vitals.map(|value| value.to_string());
    let rows = [
        ("8480-6", "Systolic blood pressure", systolic, "mm[Hg]"),
        ("8462-4", "Diastolic blood pressure", diastolic, "mm[Hg]"),
        ("8867-4", "Heart rate", pulse, "/min"),
        ("29463-7", "Body weight", format!("{:.1}", registration.person.weight_kg), "kg"),
        ("8302-2", "Body height", format!("{:.0}", registration.person.height_cm), "cm"),
    ];
    let lines: Vec<String> =
        rows.iter().map(|(_, name, value, unit)| format!("{name}: {value} {unit}")).collect();
    let observations: String = rows
        .iter()
        .enumerate()
        .map(|(place, (code, name, value, unit))| {
            observation(
                registration,
                "2.16.840.1.113883.10.20.22.4.27",
                &format!("{}-V{place}", summary.document),
                (code, name),
                &at,
                (value, unit),
                "",
            )
        })
        .collect();
    let entries = format!(
        "<entry typeCode=\"DRIV\"><organizer classCode=\"CLUSTER\" moodCode=\"EVN\"><templateId root=\"2.16.840.1.113883.10.20.22.4.26\" extension=\"2015-08-01\"/>{}<code code=\"46680005\" displayName=\"Vital signs\" {SNOMED}><translation code=\"74728-7\" displayName=\"Vital signs, weight, height, head circumference, oxygen saturation and BMI panel\" {LOINC}/></code><statusCode code=\"completed\"/><effectiveTime><low value=\"{at}\"/><high value=\"{at}\"/></effectiveTime>{observations}</organizer></entry>",
        entry_id(registration, &format!("{}-V", summary.document))
    );
    let template = "2.16.840.1.113883.10.20.22.2.4.1";
    section(out, template, ("8716-3", "Vital signs note"), "Vital Signs", &list(&lines), &entries);
}

/// Whether a document carries the report's section with this heading.
pub(crate) fn narrated(heading: &str) -> bool {
    ["REASON FOR CONSULTATION", "HISTORY OF PRESENT ILLNESS", "IMPRESSION AND PLAN"]
        .contains(&heading)
}

fn narratives(out: &mut String, summary: &Summary<'_>) {
    for part in &summary.report.sections {
        let (template, code) = match part.heading {
            "REASON FOR CONSULTATION" => {
                ("1.3.6.1.4.1.19376.1.5.3.1.3.1", ("42349-1", "Reason for referral (narrative)"))
            }
            "HISTORY OF PRESENT ILLNESS" => (
                "1.3.6.1.4.1.19376.1.5.3.1.3.4",
                ("10164-2", "History of Present illness Narrative"),
            ),
            "IMPRESSION AND PLAN" => {
                ("2.16.840.1.113883.10.20.22.2.9", ("51847-2", "Evaluation + Plan note"))
            }
            _ => continue,
        };
        let text = format!("<paragraph>{}</paragraph>", xml(&part.sentences.join(" ")));
        *out += &format!(
            "<component><section><templateId root=\"{template}\"/><code code=\"{}\" displayName=\"{}\" {LOINC}/><title>{}</title><text>{text}</text></section></component>\n",
            code.0, code.1, part.heading
        );
    }
}
