//! Sections and their entries: which template becomes which resource.

use super::xml::{Lookup, Node, is_statement};
use super::{Conversion, Label};
use crate::converted::Refusal;

/// Sections in sections; real ones stay at two.
const SECTION_DEPTH_MAX: usize = 8;

/// What a clinical statement is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    ProblemConcern,
    Problem,
    AllergyConcern,
    Allergy,
    Medication,
    Administration,
    /// An act that wraps medications: discharge or admission medication.
    Wrapper,
    Immunization,
    Procedure,
    Encounter,
    Results,
    Vitals,
    Measurements,
    Observation,
    Note,
    /// Plans, goals, orders, family history, insurance: in the original only.
    Other,
}

const KINDS: [(&str, Kind); 43] = [
    ("2.16.840.1.113883.10.20.22.4.3", Kind::ProblemConcern),
    ("2.16.840.1.113883.10.20.22.4.34", Kind::ProblemConcern),
    ("2.16.840.1.113883.10.20.22.4.33", Kind::ProblemConcern),
    ("2.16.840.1.113883.10.20.22.4.80", Kind::ProblemConcern),
    ("2.16.840.1.113883.10.20.22.4.4", Kind::Problem),
    ("2.16.840.1.113883.10.20.22.4.30", Kind::AllergyConcern),
    ("2.16.840.1.113883.10.20.22.4.7", Kind::Allergy),
    ("2.16.840.1.113883.10.20.24.3.90", Kind::Allergy),
    ("2.16.840.1.113883.10.20.22.4.52", Kind::Immunization),
    ("2.16.840.1.113883.10.20.22.4.16", Kind::Medication),
    ("2.16.840.1.113883.10.20.22.4.35", Kind::Wrapper),
    ("2.16.840.1.113883.10.20.22.4.36", Kind::Wrapper),
    ("2.16.840.1.113883.10.20.22.4.12", Kind::Procedure),
    ("2.16.840.1.113883.10.20.22.4.13", Kind::Procedure),
    ("2.16.840.1.113883.10.20.22.4.14", Kind::Procedure),
    ("2.16.840.1.113883.10.20.22.4.49", Kind::Encounter),
    ("2.16.840.1.113883.10.20.22.4.1", Kind::Results),
    ("2.16.840.1.113883.10.20.22.4.26", Kind::Vitals),
    ("2.16.840.1.113883.10.20.22.4.66", Kind::Measurements),
    ("2.16.840.1.113883.10.20.22.4.75", Kind::Measurements),
    ("2.16.840.1.113883.10.20.22.4.2", Kind::Observation),
    ("2.16.840.1.113883.10.20.22.4.27", Kind::Observation),
    ("2.16.840.1.113883.10.20.22.4.38", Kind::Observation),
    ("2.16.840.1.113883.10.20.22.4.78", Kind::Observation),
    ("2.16.840.1.113883.10.22.4.78", Kind::Observation),
    ("2.16.840.1.113883.10.20.22.4.85", Kind::Observation),
    ("2.16.840.1.113883.10.20.22.4.200", Kind::Observation),
    ("2.16.840.1.113883.10.20.22.4.67", Kind::Observation),
    ("2.16.840.1.113883.10.20.22.4.74", Kind::Observation),
    ("2.16.840.1.113883.10.20.22.4.69", Kind::Observation),
    ("2.16.840.1.113883.10.20.22.4.72", Kind::Observation),
    ("2.16.840.1.113883.10.20.22.4.109", Kind::Observation),
    ("2.16.840.1.113883.10.20.22.4.111", Kind::Observation),
    ("2.16.840.1.113883.10.20.22.4.114", Kind::Observation),
    ("2.16.840.1.113883.10.20.22.4.127", Kind::Observation),
    ("2.16.840.1.113883.10.20.22.4.5", Kind::Observation),
    ("2.16.840.1.113883.10.20.22.4.144", Kind::Other),
    ("2.16.840.1.113883.10.20.15.3.8", Kind::Observation),
    ("2.16.840.1.113883.10.20.22.4.202", Kind::Note),
    ("2.16.840.1.113883.10.20.22.4.121", Kind::Other),
    ("2.16.840.1.113883.10.20.22.4.48", Kind::Other),
    ("2.16.840.1.113883.10.20.22.4.45", Kind::Other),
    ("2.16.840.1.113883.10.20.22.4.60", Kind::Other),
];

/// Sections by LOINC code, for entries whose template is missing or unknown.
fn kind_of_section(code: &str, name: &str) -> Kind {
    match (code, name) {
        ("11450-4" | "46241-6" | "11535-2" | "11348-0", "act") => Kind::ProblemConcern,
        ("11450-4" | "46241-6" | "11535-2" | "11348-0", "observation") => Kind::Problem,
        ("48765-2", "act") => Kind::AllergyConcern,
        ("48765-2", "observation") => Kind::Allergy,
        ("10160-0" | "10183-2" | "42346-7" | "29549-3", "substanceAdministration") => {
            Kind::Medication
        }
        ("10183-2" | "42346-7" | "10160-0", "act") => Kind::Wrapper,
        ("11369-6", "substanceAdministration") => Kind::Immunization,
        ("47519-4", "procedure" | "act" | "observation") => Kind::Procedure,
        ("46240-8", "encounter") => Kind::Encounter,
        ("30954-2", "organizer") => Kind::Results,
        ("8716-3", "organizer") => Kind::Vitals,
        ("30954-2" | "8716-3" | "29762-2" | "47420-5" | "10190-7" | "29545-1", "observation") => {
            Kind::Observation
        }
        _ => Kind::Other,
    }
}

fn kind_of(statement: Node<'_>, section: &str) -> Kind {
    let known = statement.all("templateId").filter_map(|template| template.attr("root"));
    let found =
        known.filter_map(|root| KINDS.iter().find(|(template, _)| *template == root)).next();
    let kind = match found {
        Some((_, kind)) => *kind,
        None => kind_of_section(section, statement.tag_name().name()),
    };
    if kind == Kind::Medication && section == "29549-3" { Kind::Administration } else { kind }
}

impl<'d> Conversion<'d> {
    pub(super) fn sections(&mut self) -> Result<(), Refusal> {
        let parts: Vec<Node<'d>> = self
            .root
            .all("component")
            .filter_map(|part| part.child("structuredBody"))
            .flat_map(|body| body.all("component").collect::<Vec<_>>())
            .filter_map(|part| part.child("section"))
            .collect();
        for section in parts {
            self.section(section, "", 0)?;
        }
        Ok(())
    }

    fn section(&mut self, section: Node<'d>, outer: &str, depth: usize) -> Result<(), Refusal> {
        let code = section.code().unwrap_or(outer);
        let around = self.label;
        if let Some(own) = section.child("confidentialityCode").and_then(|it| it.attr("code")) {
            self.label = Label::of(own);
        }
        let mut others = 0;
        let mut entries = 0;
        for entry in section.all("entry") {
            for statement in entry.children().filter(|child| is_statement(*child)) {
                entries += 1;
                self.check_bound()?;
                if !self.entry(statement, code)? {
                    others += 1;
                }
            }
        }
        if others > 0 {
            let text = format!("entries are kept in the original and not converted ({others})");
            self.inform(section, text);
        } else if entries == 0 && section.child("text").is_some() {
            self.inform(section, "a section of text alone is kept in the original");
        }
        let inner: Vec<Node<'d>> =
            section.all("component").filter_map(|part| part.child("section")).collect();
        for inner in inner {
            if depth >= SECTION_DEPTH_MAX {
                self.warn(section, "sections within sections are nested too deep to be read");
                break;
            }
            self.section(inner, code, depth + 1)?;
        }
        self.label = around;
        Ok(())
    }

    /// Whether the statement was converted.
    fn entry(&mut self, statement: Node<'d>, section: &str) -> Result<bool, Refusal> {
        let around = self.label;
        self.label = security_label(statement).or(around);
        let converted = self.statement_of(statement, section);
        self.label = around;
        converted
    }

    fn statement_of(&mut self, statement: Node<'d>, section: &str) -> Result<bool, Refusal> {
        let mood = statement.attr("moodCode").unwrap_or("EVN");
        let kind = kind_of(statement, section);
        // Plans and orders are no facts; medications and immunizations have
        // statuses that say so.
        if mood != "EVN" && !matches!(kind, Kind::Medication | Kind::Immunization) {
            return Ok(false);
        }
        match kind {
            Kind::ProblemConcern => self.problem_concern(statement, section)?,
            Kind::Problem => {
                self.problem(statement, None, section);
            }
            Kind::AllergyConcern => self.allergy_concern(statement)?,
            Kind::Allergy => self.allergy(statement, None),
            Kind::Medication => self.medication(statement),
            Kind::Administration => self.administration(statement),
            Kind::Wrapper => {
                for inner in statement.related("") {
                    self.check_bound()?;
                    if inner.tag_name().name() == "substanceAdministration" {
                        self.medication(inner);
                    }
                }
            }
            Kind::Immunization if mood == "EVN" => self.immunization(statement),
            Kind::Procedure => self.procedure(statement),
            Kind::Encounter => {
                self.encounter_of(statement, Some(section));
            }
            Kind::Results => self.results(statement, section)?,
            Kind::Vitals => self.vitals(statement)?,
            Kind::Measurements => self.measurements(statement, section)?,
            Kind::Observation => {
                self.observation(statement, section, None);
            }
            Kind::Note => self.note(statement),
            Kind::Immunization | Kind::Other => return Ok(false),
        }
        Ok(true)
    }
}

/// The most that the confidentiality codes and security observations of a
/// document ask for: the original holds all of them.
pub(super) fn highest_label(root: Node<'_>) -> Option<Label> {
    let codes = root
        .descendants()
        .filter(|node| node.is_element() && node.tag_name().name() == "confidentialityCode");
    let codes = codes.filter_map(|node| node.attr("code")).filter_map(Label::of).max();
    codes.max(security_label(root))
}

/// A security observation (HL7 privacy annotation, DS4P) within an entry.
fn security_label(statement: Node<'_>) -> Option<Label> {
    let observations = statement.descendants().filter(|node| {
        node.is_element()
            && node.tag_name().name() == "observation"
            && node.code() == Some("SECCLASSOBS")
    });
    let values = observations.filter_map(|node| node.child("value")?.attr("code"));
    values.filter_map(Label::of).max()
}
