//! Letters to individuals, as the law of the person's state wants them.
//!
//! Contents: 45 CFR 164.404(c)(1)(A) to (E); Cal. Civ. Code 1798.82(d); M.G.L.
//! c. 93H s. 3(b), which forbids the nature of the breach and the number of
//! residents. No letter says how many persons are concerned.

use holdfast_base::ElementClass;

use super::Matter;
use crate::{
    calendar::long,
    document::{Block, Document, Sender},
    incident::Status,
    law::Office,
    organization::{Addressee, AffectedPerson, Contact, Organization},
    scope::ScopeRow,
};

/// A blank that a person fills in before printing; the index names it.
pub(super) const MONITORING_BLANK: &str = "[credit monitoring provider to be entered]";

/// Which text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Hipaa,
    Indiana,
    California,
    Massachusetts,
}

impl Form {
    pub(super) fn of(state: Option<&str>) -> Form {
        match state.map(str::to_ascii_uppercase).as_deref() {
            Some("IN") => Self::Indiana,
            Some("CA") => Self::California,
            Some("MA") => Self::Massachusetts,
            _ => Self::Hipaa,
        }
    }

    fn state(self) -> &'static str {
        match self {
            Self::Hipaa => "US",
            Self::Indiana => "IN",
            Self::California => "CA",
            Self::Massachusetts => "MA",
        }
    }
}

/// The letter about one patient record.
pub(super) fn compose(
    matter: &Matter<'_>,
    organization: &Organization,
    row: &ScopeRow,
    person: &AffectedPerson,
) -> Document {
    let form = Form::of(person.state.as_deref());
    let letter = Letter { matter, organization, row, person, form };
    let mut blocks =
        vec![Block::Title(letter.title().to_owned()), Block::Paragraph(letter.salutation())];
    match form {
        Form::Massachusetts => letter.massachusetts(&mut blocks),
        Form::California | Form::Indiana | Form::Hipaa => letter.five_parts(&mut blocks),
    }
    blocks.push(Block::Signature("Sincerely,".to_owned(), letter.signature()));
    Document {
        about: letter.title().to_owned(),
        sender: sender(organization, &matter.letterhead.exchange),
        addressee: addressee(person),
        date: long(matter.letterhead.date.date()),
        reference: matter.incident.reference(),
        blocks,
    }
}

/// The lines of the address.
pub(super) fn addressee(person: &AffectedPerson) -> Vec<String> {
    let name = person.name.expose().trim();
    let mut lines = vec![match person.addressee {
        Addressee::Patient => name.to_owned(),
        Addressee::ParentOrGuardian => format!("Parent or Guardian of {name}"),
        Addressee::NextOfKin => format!("Family of {name}"),
    }];
    let street = person.address.expose().iter().map(|line| line.trim().to_owned());
    lines.extend(street.filter(|line| !line.is_empty()));
    lines.push(format!(
        "{}, {} {}",
        person.city.expose().trim(),
        person.state.as_deref().unwrap_or_default().trim(),
        person.zip.expose().trim()
    ));
    lines
}

fn sender(organization: &Organization, exchange: &str) -> Sender {
    let mut details = organization.address.clone();
    details.extend(organization.contact.telephone.clone());
    details.extend(organization.contact.web.clone());
    Sender {
        name: organization.name.clone(),
        details,
        on_behalf: format!("Sent by {exchange} on behalf of {}", organization.name),
    }
}

struct Letter<'a> {
    matter: &'a Matter<'a>,
    organization: &'a Organization,
    row: &'a ScopeRow,
    person: &'a AffectedPerson,
    form: Form,
}

impl Letter<'_> {
    fn title(&self) -> &'static str {
        match self.form {
            Form::California => "Notice of Data Breach",
            Form::Massachusetts => "Notice about Your Personal Information",
            Form::Indiana | Form::Hipaa => "Notice about Your Health Information",
        }
    }

    fn has(&self, class: ElementClass) -> bool {
        self.person.classes.contains(class)
    }

    fn salutation(&self) -> String {
        let name = self.person.name.expose();
        match self.person.addressee {
            Addressee::Patient => format!("Dear {name}:"),
            Addressee::ParentOrGuardian => format!("Dear parent or guardian of {name}:"),
            Addressee::NextOfKin => format!("To the family of {name}:"),
        }
    }

    /// `your`, or whose record it is when the reader is somebody else.
    fn your(&self) -> &'static str {
        match self.person.addressee {
            Addressee::Patient => "your",
            Addressee::ParentOrGuardian => "your child's",
            Addressee::NextOfKin => "your family member's",
        }
    }

    fn period(&self) -> String {
        let (first, last) = (self.row.first.date(), self.row.last.date());
        if first == last {
            format!("on or about {}", long(first))
        } else {
            format!("between {} and {}", long(first), long(last))
        }
    }

    fn discovered(&self) -> String {
        long(self.matter.incident.discovered.date())
    }

    // The five parts: HIPAA elements A to E; in California under its headings.

    fn five_parts(&self, blocks: &mut Vec<Block>) {
        let headings = if self.form == Form::California {
            [
                "What Happened",
                "What Information Was Involved",
                "What We Are Doing",
                "What You Can Do",
                "For More Information",
            ]
        } else {
            [
                "What happened",
                "What information was involved",
                "What we are doing",
                "What you can do",
                "How to reach us",
            ]
        };
        let [happened, involved, doing, can_do, more] =
            headings.map(|h| Block::Heading(h.to_owned()));
        let paragraph = |text: String| Block::Paragraph(text);
        blocks.push(paragraph(format!(
            "{} takes the privacy of its patients seriously. We are writing because {} health \
             information was involved in a security incident, and to tell you what you can do.",
            self.organization.name,
            self.your()
        )));
        blocks.push(happened);
        blocks.push(paragraph(self.what_happened()));
        if self.form == Form::California {
            blocks.push(paragraph(self.delay()));
        }
        blocks.push(involved);
        blocks.push(paragraph(format!(
            "Our records show exactly whose records were opened and which parts of them. In {} \
             record, the following could have been seen:",
            self.your()
        )));
        blocks.push(Block::Bullets(self.information()));
        let free_text = self.has(ElementClass::Document) || self.has(ElementClass::Restricted);
        if !self.has(ElementClass::GovernmentId) && !free_text {
            blocks.push(paragraph(
                "Social Security numbers, driver's license numbers and passport numbers are kept \
                 apart and were not involved."
                    .to_owned(),
            ));
        }
        blocks.push(doing);
        blocks.push(paragraph(self.what_we_do()));
        self.offer_monitoring(blocks);
        blocks.push(can_do);
        blocks.push(Block::Bullets(self.steps()));
        if self.has(ElementClass::GovernmentId) {
            blocks.push(paragraph("The three nationwide credit bureaus:".to_owned()));
            blocks.push(bureaus(self.matter));
        }
        blocks.push(more);
        blocks.push(paragraph(self.reach_us()));
        let help = match self.form {
            Form::Hipaa => "You can also get help from your state's attorney general, and from:",
            _ => "You can also get help from:",
        };
        blocks.push(paragraph(help.to_owned()));
        blocks.push(self.agencies());
    }

    fn what_happened(&self) -> String {
        let exchange = &self.matter.letterhead.exchange;
        let account = self.matter.letterhead.what_happened.clone().unwrap_or_else(|| {
            format!(
                "On {}, {exchange}, which exchanges health records for {}, discovered that an \
                 account on its system had been used to open patients' records without a reason \
                 that we could confirm.",
                self.discovered(),
                self.organization.name
            )
        });
        let mut text =
            format!("{account} {} record was opened {}.", capital(self.your()), self.period());
        if self.matter.letterhead.what_happened.is_some() {
            text.push_str(&format!(" This was discovered on {}.", self.discovered()));
        }
        text
    }

    /// Cal. Civ. Code 1798.82(d)(2)(D).
    fn delay(&self) -> String {
        if self.matter.letterhead.delayed_by_law_enforcement {
            "This notice was delayed because of a law enforcement investigation.".to_owned()
        } else {
            "This notice was not delayed by a law enforcement investigation.".to_owned()
        }
    }

    /// Only what this person's own classes say. 45 CFR 164.404(c)(1)(B).
    fn information(&self) -> Vec<(String, String)> {
        self.person
            .classes
            .iter()
            .map(|class| {
                let (lead, text) = match class {
                    ElementClass::Identity => (
                        "Identity:",
                        "name, address, date of birth, telephone numbers and e-mail addresses",
                    ),
                    ElementClass::GovernmentId => (
                        "Government numbers:",
                        "Social Security number, and the driver's license or passport number if \
                         one is on file",
                    ),
                    ElementClass::Clinical => (
                        "Medical information:",
                        "such as diagnoses, medicines, allergies, test results and visits",
                    ),
                    ElementClass::Document => (
                        "Medical reports:",
                        "such as dictated reports, visit summaries and other documents",
                    ),
                    ElementClass::Restricted => (
                        "Specially protected information:",
                        "health information to which federal or state law gives extra protection",
                    ),
                };
                (lead.to_owned(), text.to_owned())
            })
            .collect()
    }

    /// 45 CFR 164.404(c)(1)(D). Says only what the incident's status bears out.
    fn what_we_do(&self) -> String {
        let exchange = &self.matter.letterhead.exchange;
        let contained = if self.matter.incident.status >= Status::Contained {
            format!("{exchange} has suspended the account.")
        } else {
            format!("{exchange} is working to contain the incident.")
        };
        format!(
            "{contained} Every opening of a record is kept in a log that cannot be changed \
             unnoticed; with it, the records concerned were identified one by one. The \
             investigation continues, and we are reviewing how accounts are protected so that \
             this does not happen again. We also report the incident to the authorities that the \
             law names."
        )
    }

    fn offer_monitoring(&self, blocks: &mut Vec<Block>) {
        let rule = self.matter.law.monitoring(self.form.state());
        let Some(rule) = rule.filter(|_| self.has(ElementClass::GovernmentId)) else { return };
        let months = rule.months;
        let text = match &self.matter.letterhead.monitoring {
            Some(offer) => format!(
                "We offer you {months} months of credit monitoring and identity theft protection \
                 through {}, at no cost to you. To enroll, visit {} or call {} by {}.",
                offer.provider, offer.web, offer.telephone, offer.enroll_by
            ),
            None => format!(
                "We offer you {months} months of credit monitoring and identity theft protection \
                 at no cost to you through {MONITORING_BLANK}."
            ),
        };
        blocks.push(Block::Paragraph(text));
    }

    /// 45 CFR 164.404(c)(1)(C).
    fn steps(&self) -> Vec<(String, String)> {
        let mut steps = vec![(
            "Read your statements.",
            "Look through bills from providers and statements from your health plan. If a service \
             is listed that you did not receive, call the number on the statement.",
        )];
        if self.has(ElementClass::Clinical) || self.has(ElementClass::Document) {
            steps.push((
                "Ask for your record.",
                "You can ask us and any other provider for a copy of the medical record and for a \
                 list of those to whom it was disclosed, and have mistakes corrected.",
            ));
        }
        if self.has(ElementClass::Identity) {
            steps.push((
                "Be careful with callers.",
                "We will not call or e-mail you to ask for personal information about this \
                 incident. Do not give any to someone who does.",
            ));
        }
        if self.has(ElementClass::GovernmentId) {
            steps.push((
                "Check your credit reports.",
                "They are free at www.annualcreditreport.com or 1-877-322-8228.",
            ));
            steps.push(match self.form {
                Form::Massachusetts => (
                    "Set a fraud alert, or freeze your credit.",
                    "Both are free. A fraud alert at one credit bureau reaches all three; how to \
                     place a freeze is explained below.",
                ),
                _ => (
                    "Freeze your credit, or set a fraud alert.",
                    "Both are free. A freeze keeps others from opening accounts in your name; ask \
                     each of the credit bureaus below. A fraud alert at one bureau reaches all \
                     three.",
                ),
            });
            steps.push((
                "If your information is misused,",
                "report it to your local police and at www.identitytheft.gov.",
            ));
        }
        steps.into_iter().map(|(lead, text)| (lead.to_owned(), text.to_owned())).collect()
    }

    /// 45 CFR 164.404(c)(1)(E).
    fn reach_us(&self) -> String {
        let letterhead = self.matter.letterhead;
        let contact = fill(&letterhead.contact, &self.organization.contact);
        let mut ways = Vec::new();
        if let Some(telephone) = contact.telephone {
            ways.push(match contact.hours {
                Some(hours) => format!("call {telephone} ({hours})"),
                None => format!("call {telephone}"),
            });
        }
        ways.extend(contact.email.map(|email| format!("write to {email}")));
        ways.extend(contact.web.map(|web| format!("visit {web}")));
        ways.push(format!(
            "write to {}, {}",
            self.organization.name,
            self.organization.address.join(", ")
        ));
        format!(
            "If you have questions, {}. Please quote the reference {}.",
            join_or(&ways),
            self.matter.incident.reference()
        )
    }

    fn offices(&self) -> impl Iterator<Item = &Office> {
        let state = Some(self.form.state()).filter(|_| self.form != Form::Hipaa);
        let law = self.matter.law;
        law.agency("US").into_iter().chain(state.and_then(|state| law.agency(state)))
    }

    fn agencies(&self) -> Block {
        Block::Columns(self.offices().map(column).collect())
    }

    /// With telephone and web site, the last two lines of an office.
    fn agencies_inline(&self) -> String {
        let short = |office: &Office| {
            let reach = office.lines[office.lines.len().saturating_sub(2)..].join(", ");
            format!("the {} ({reach})", office.name)
        };
        let offices: Vec<String> = self.offices().map(short).collect();
        format!("You can also turn to {}.", offices.join(" and "))
    }

    fn signature(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(signatory) = &self.organization.signatory {
            lines.push(signatory.clone());
        }
        lines.push(self.organization.name.clone());
        lines
    }

    // Massachusetts: M.G.L. c. 93H s. 3(b). No nature of the breach, no number
    // of residents; police report, security freeze, mitigation services, parent.

    fn massachusetts(&self, blocks: &mut Vec<Block>) {
        let heading = |text: &str| Block::Heading(text.to_owned());
        let paragraph = |text: &str| Block::Paragraph(text.to_owned());
        let organization = &self.organization.name;
        let mut opening = format!(
            "We are writing to let you know about an incident that involved {} personal \
             information. It took place {} and was discovered on {}.",
            self.your(),
            self.period(),
            self.discovered()
        );
        if let Some(parent) = &self.organization.parent {
            opening.push_str(&format!(" {organization} is owned by {parent}."));
        }
        opening.push_str(
            " We have identified each record that was involved, are reviewing how records are \
             protected, and report to the Massachusetts authorities.",
        );
        blocks.push(Block::Paragraph(opening));
        blocks.push(heading("Your information"));
        blocks.push(Block::Paragraph(format!(
            "The following information in {} record was involved:",
            self.your()
        )));
        blocks.push(Block::Bullets(self.information()));
        blocks.push(heading("Your right to a police report"));
        blocks.push(paragraph(
            "Under Massachusetts law, you have the right to obtain any police report filed in \
             regard to this incident. If you are the victim of identity theft, you also have the \
             right to file a police report and obtain a copy of it.",
        ));
        blocks.push(heading("What you can do"));
        blocks.push(Block::Bullets(self.steps()));
        blocks.push(heading("Security freeze, free of charge"));
        blocks.push(paragraph(
            "A security freeze keeps a credit bureau from releasing information from your credit \
             report without your consent, so that no one can open an account in your name. There \
             is no charge to place, lift or remove a freeze. To place one, write, call or go online \
             at each of the three credit bureaus:",
        ));
        blocks.push(bureaus(self.matter));
        blocks.push(paragraph(
            "Have these at hand: your full name with middle initial and any suffix; Social \
             Security number; date of birth; your addresses of the past five years; a copy of a \
             government-issued identification card; and a recent utility bill or bank statement \
             that shows your name and address. A bureau that is asked by telephone or online has one \
             business day to place the freeze, and three business days when asked by mail. It then sends or \
             shows you how to lift the freeze for a time or for good.",
        ));
        if self.has(ElementClass::GovernmentId) {
            blocks.push(heading("Credit monitoring at no cost to you"));
            self.offer_monitoring(blocks);
        }
        blocks.push(heading("How to reach us"));
        blocks.push(Block::Paragraph(format!("{} {}", self.reach_us(), self.agencies_inline())));
    }
}

fn bureaus(matter: &Matter<'_>) -> Block {
    Block::Columns(matter.law.bureau.iter().map(column).collect())
}

fn column(office: &Office) -> (String, Vec<String>) {
    (office.name.clone(), office.lines.clone())
}

/// The incident's own contacts, filled up with the organization's.
fn fill(own: &Contact, other: &Contact) -> Contact {
    let own = own.clone();
    let hours = if own.telephone.is_some() { own.hours } else { other.hours.clone() };
    Contact {
        telephone: own.telephone.or_else(|| other.telephone.clone()),
        hours,
        email: own.email.or_else(|| other.email.clone()),
        web: own.web.or_else(|| other.web.clone()),
    }
}

/// `a, b, or c`.
fn join_or(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [only] => only.clone(),
        [first, second] => format!("{first}, or {second}"),
        [most @ .., last] => format!("{}, or {last}", most.join(", ")),
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
