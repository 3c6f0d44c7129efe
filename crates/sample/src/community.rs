//! The organizations of the sample community and the people who work there.
//! Everything is fictitious: object identifiers stand under the example arc
//! 2.999, telephone numbers are 555 numbers, and provider numbers start with
//! the digit 2, of which none has been issued.

use holdfast_base::{OrganizationId, PrincipalId};

use crate::check::npi_from_stem;

/// What an organization does; decides which module of the exchange it uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Family and specialist physicians.
    Practice,
    /// A hospital with beds, emergency department and laboratory.
    Hospital,
    /// A reference laboratory.
    Laboratory,
    /// A service that types dictated reports.
    Transcription,
    /// A large company with an on-site clinic.
    Employer,
}

impl Kind {
    /// The module's name as policies and configuration write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Practice => "practice",
            Self::Hospital => "hospital",
            Self::Laboratory => "laboratory",
            Self::Transcription => "transcription",
            Self::Employer => "employer",
        }
    }
}

/// What a member of staff does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StaffRole {
    /// Physician, nurse practitioner or physician assistant.
    Clinician,
    /// Registered nurse or medical assistant.
    Nurse,
    /// Registration desk.
    Registrar,
    /// Laboratory technologist.
    LaboratoryStaff,
    /// Types dictated reports.
    Transcriptionist,
    /// Clinician of an on-site clinic.
    OccupationalClinician,
    /// Plant or personnel manager of an employer.
    EmployerManager,
    /// Answers for privacy: investigates and notifies.
    PrivacyOfficer,
    /// Answers for security: watches and contains.
    SecurityOfficer,
    /// Runs the platform.
    Administrator,
}

impl StaffRole {
    /// Every role.
    pub const ALL: [StaffRole; 10] = [
        Self::Clinician,
        Self::Nurse,
        Self::Registrar,
        Self::LaboratoryStaff,
        Self::Transcriptionist,
        Self::OccupationalClinician,
        Self::EmployerManager,
        Self::PrivacyOfficer,
        Self::SecurityOfficer,
        Self::Administrator,
    ];

    /// The role's name as policies write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clinician => "clinician",
            Self::Nurse => "nurse",
            Self::Registrar => "registrar",
            Self::LaboratoryStaff => "laboratory-staff",
            Self::Transcriptionist => "transcriptionist",
            Self::OccupationalClinician => "occupational-clinician",
            Self::EmployerManager => "employer-manager",
            Self::PrivacyOfficer => "privacy-officer",
            Self::SecurityOfficer => "security-officer",
            Self::Administrator => "administrator",
        }
    }
}

/// How a message travels to the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Channel {
    /// HL7 v2 over MLLP.
    Hl7v2,
    /// A C-CDA document over HTTPS.
    Ccda,
    /// A FHIR transaction bundle over HTTPS.
    Fhir,
}

impl Channel {
    /// Short name, for folders and interface names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hl7v2 => "hl7v2",
            Self::Ccda => "ccda",
            Self::Fhir => "fhir",
        }
    }
}

/// A connection through which an organization's system sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The system's account, for example `hl7v2@lakeside-family`.
    pub principal: PrincipalId,
    /// What it speaks.
    pub channel: Channel,
}

/// An organization of the community.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    /// Identifier on the exchange.
    pub id: OrganizationId,
    /// The same, as text that lives as long as the program.
    pub slug: &'static str,
    /// Name as people know it.
    pub name: &'static str,
    /// What it does.
    pub kind: Kind,
    /// Street address.
    pub street: &'static str,
    /// City.
    pub city: &'static str,
    /// USPS state.
    pub state: &'static str,
    /// ZIP code.
    pub zip: &'static str,
    /// Telephone, `NNN-555-01NN`.
    pub phone: &'static str,
    /// Object identifier of the authority that assigns its record numbers.
    pub oid: &'static str,
    /// MSH-3: the sending application's name.
    pub application: &'static str,
    /// MSH-4: the sending facility, also the namespace of its record numbers.
    pub facility: &'static str,
    /// Its own national provider identifier (type 2), with a right check digit.
    pub npi: String,
    /// The systems that send for it.
    pub interfaces: Vec<Interface>,
}

impl Organization {
    /// The account through which `channel` of this organization is sent.
    pub fn interface(&self, channel: Channel) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.channel == channel)
    }

    /// System of its record numbers in FHIR, `urn:oid:…`.
    pub fn mrn_system(&self) -> String {
        format!("urn:oid:{}", self.oid)
    }

    /// Its settings on an exchange, as one takes them to add an organization.
    pub fn settings(&self) -> serde_json::Value {
        let mut authorities = serde_json::Map::new();
        for name in [self.facility, self.oid] {
            authorities.insert(name.to_owned(), self.mrn_system().into());
        }
        serde_json::json!({
            "id": self.id,
            "name": self.name,
            "module": self.kind.as_str(),
            "street": self.street,
            "city": self.city,
            "state": self.state,
            "postal_code": self.zip,
            "phone": self.phone,
            "authorities": authorities,
            "default_authority": self.facility,
            "time_zone": TIME_ZONE,
        })
    }
}

/// A person who works at an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Sign-in name; one person, never a function.
    pub login: PrincipalId,
    /// The organization's identifier.
    pub organization: OrganizationId,
    /// The same, as text that lives as long as the program.
    pub slug: &'static str,
    /// What the person does.
    pub role: StaffRole,
    /// Given name.
    pub given: &'static str,
    /// Family name.
    pub family: &'static str,
    /// Letters after the name, such as `MD`; may be empty.
    pub degree: &'static str,
    /// What a clinician practises; empty for others.
    pub specialty: &'static str,
    /// National provider identifier, for those who order and sign.
    pub npi: Option<String>,
}

impl Member {
    /// Name as the console shows it: `Amara Okafor, MD`.
    pub fn display(&self) -> String {
        if self.degree.is_empty() {
            format!("{} {}", self.given, self.family)
        } else {
            format!("{} {}, {}", self.given, self.family, self.degree)
        }
    }
}

/// The sample community.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Community {
    /// Name of the exchange.
    pub name: &'static str,
    /// The organizations, in a fixed order.
    pub organizations: Vec<Organization>,
    /// Everybody who signs in, organization by organization.
    pub staff: Vec<Member>,
}

impl Community {
    /// The organization with this slug.
    pub fn organization(&self, slug: &str) -> Option<&Organization> {
        self.organizations.iter().find(|organization| organization.slug == slug)
    }

    /// Those who work at the organization `slug`.
    pub fn staff_of<'a>(&'a self, slug: &'a str) -> impl Iterator<Item = &'a Member> {
        self.staff.iter().filter(move |member| member.slug == slug)
    }

    /// Who runs the exchange, and is there first.
    ///
    /// # Panics
    /// Never: the community has one.
    pub fn administrator(&self) -> &Member {
        let mut staff = self.staff.iter();
        staff
            .find(|member| member.role == StaffRole::Administrator)
            .unwrap_or_else(|| unreachable!("the community has an administrator"))
    }

    /// Those of the organization who treat patients and have a provider number.
    pub fn clinicians_of<'a>(&'a self, slug: &'a str) -> impl Iterator<Item = &'a Member> {
        self.staff_of(slug).filter(|member| {
            matches!(member.role, StaffRole::Clinician | StaffRole::OccupationalClinician)
        })
    }
}

/// US Eastern, where the community lives.
const TIME_ZONE: &str = "EST5EDT,M3.2.0,M11.1.0";

/// Family practice that speaks HL7 v2.
pub const LAKESIDE: &str = "lakeside-family";
/// Family practice that sends its visits as FHIR bundles.
pub const CEDAR: &str = "cedar-hollow-family";
/// Neurology centre; sends continuity-of-care documents.
pub const NEUROLOGY: &str = "summit-neurology";
/// Regional hospital; also hosts the exchange's operators.
pub const HOSPITAL: &str = "st-brendan-hospital";
/// Reference laboratory.
pub const LABORATORY: &str = "wabash-laboratory";
/// Transcription service.
pub const TRANSCRIPTION: &str = "quillmark-transcription";
/// Manufacturer with an on-site clinic.
pub const EMPLOYER: &str = "northfield-axle";

struct OrganizationRow {
    slug: &'static str,
    name: &'static str,
    kind: Kind,
    place: [&'static str; 4],
    phone: &'static str,
    oid: &'static str,
    application: &'static str,
    facility: &'static str,
    npi_stem: u32,
    channels: &'static [Channel],
}

const ORGANIZATIONS: [OrganizationRow; 7] = [
    OrganizationRow {
        slug: LAKESIDE,
        name: "Lakeside Family Medicine",
        kind: Kind::Practice,
        place: ["2100 Reservoir Boulevard", "Fort Wayne", "IN", "46805"],
        phone: "260-555-0112",
        oid: "2.999.4471.1",
        application: "CHARTWELL",
        facility: "LAKESIDEFM",
        npi_stem: 200_410_011,
        channels: &[Channel::Hl7v2],
    },
    OrganizationRow {
        slug: CEDAR,
        name: "Cedar Hollow Family Practice",
        kind: Kind::Practice,
        place: ["88 Guilford Square", "Huntington", "IN", "46750"],
        phone: "260-555-0127",
        oid: "2.999.4471.2",
        application: "OPENCHART",
        facility: "CEDARHOLLOW",
        npi_stem: 200_410_012,
        channels: &[Channel::Hl7v2, Channel::Fhir],
    },
    OrganizationRow {
        slug: NEUROLOGY,
        name: "Summit Neurology Center",
        kind: Kind::Practice,
        place: ["4400 Summit Plaza, Suite 310", "Fort Wayne", "IN", "46804"],
        phone: "260-555-0135",
        oid: "2.999.4471.3",
        application: "NEUROTRAK",
        facility: "SUMMITNEURO",
        npi_stem: 200_410_013,
        channels: &[Channel::Hl7v2, Channel::Ccda],
    },
    OrganizationRow {
        slug: HOSPITAL,
        name: "Saint Brendan Regional Hospital",
        kind: Kind::Hospital,
        place: ["700 Hospital Parkway", "Fort Wayne", "IN", "46802"],
        phone: "260-555-0140",
        oid: "2.999.4471.4",
        application: "MERIDIAN",
        facility: "STBRENDAN",
        npi_stem: 200_410_014,
        channels: &[Channel::Hl7v2],
    },
    OrganizationRow {
        slug: LABORATORY,
        name: "Wabash Reference Laboratory",
        kind: Kind::Laboratory,
        place: ["1550 Assay Drive", "Columbia City", "IN", "46725"],
        phone: "260-555-0158",
        oid: "2.999.4471.5",
        application: "LABCORE",
        facility: "WABASHLAB",
        npi_stem: 200_410_015,
        channels: &[Channel::Hl7v2],
    },
    OrganizationRow {
        slug: TRANSCRIPTION,
        name: "Quillmark Dictation and Transcription",
        kind: Kind::Transcription,
        place: ["31 Stenographer Row", "Auburn", "IN", "46706"],
        phone: "260-555-0166",
        oid: "2.999.4471.6",
        application: "DICTAPRO",
        facility: "QUILLMARK",
        npi_stem: 200_410_016,
        channels: &[Channel::Hl7v2],
    },
    OrganizationRow {
        slug: EMPLOYER,
        name: "Northfield Axle and Gear Company",
        kind: Kind::Employer,
        place: ["9000 Industrial Loop", "Kendallville", "IN", "46755"],
        phone: "260-555-0173",
        oid: "2.999.4471.7",
        application: "PLANTCLINIC",
        facility: "NORTHFIELD",
        npi_stem: 200_410_017,
        channels: &[Channel::Fhir],
    },
];

type StaffRow =
    (&'static str, StaffRole, &'static str, &'static str, &'static str, &'static str, u32);

use StaffRole as R;

/// Organization, role, given, family, degree, specialty, stem of the provider
/// number (0: none).
const STAFF: &[StaffRow] = &[
    (LAKESIDE, R::Clinician, "Amara", "Okafor", "MD", "Family Medicine", 201_120_101),
    (LAKESIDE, R::Clinician, "Tobias", "Lindqvist", "MD", "Family Medicine", 201_120_102),
    (LAKESIDE, R::Clinician, "Priyanka", "Raghunathan", "DO", "Family Medicine", 201_120_103),
    (LAKESIDE, R::Nurse, "Colleen", "Prendergast", "RN", "", 0),
    (LAKESIDE, R::Registrar, "Desmond", "Achterberg", "", "", 0),
    (LAKESIDE, R::PrivacyOfficer, "Rosalind", "Whitcombe", "CHPC", "", 0),
    (CEDAR, R::Clinician, "Gideon", "Abernathy", "MD", "Family Medicine", 201_120_111),
    (CEDAR, R::Clinician, "Marisol", "Echeverria", "MD", "Pediatrics", 201_120_112),
    (CEDAR, R::Nurse, "Winifred", "Oyelaran", "RN", "", 0),
    (CEDAR, R::Registrar, "Lorna", "Stiltner", "", "", 0),
    (CEDAR, R::PrivacyOfficer, "Barnaby", "Kestrel", "", "", 0),
    (NEUROLOGY, R::Clinician, "Henrik", "Vasquez-Holm", "MD", "Neurology", 201_120_121),
    (NEUROLOGY, R::Clinician, "Sunniva", "Brandvold", "MD", "Neurology", 201_120_122),
    (NEUROLOGY, R::Clinician, "Yusuf", "Demirkan", "MD", "Clinical Neurophysiology", 201_120_123),
    (NEUROLOGY, R::Nurse, "Perpetua", "Nakagawa", "RN", "", 0),
    (NEUROLOGY, R::Registrar, "Ignatius", "Bellweather", "", "", 0),
    (NEUROLOGY, R::PrivacyOfficer, "Thessaly", "Rowntree", "", "", 0),
    (HOSPITAL, R::Clinician, "Callum", "Drummond-Reyes", "MD", "Hospital Medicine", 201_120_131),
    (HOSPITAL, R::Clinician, "Ingeborg", "Castellanos", "MD", "Emergency Medicine", 201_120_132),
    (HOSPITAL, R::Clinician, "Kwame", "Asante-Boadu", "MD", "Internal Medicine", 201_120_133),
    (HOSPITAL, R::Clinician, "Leocadia", "Farnsworth", "MD", "Cardiology", 201_120_134),
    (HOSPITAL, R::Clinician, "Anselm", "Petrakis", "MD", "General Surgery", 201_120_135),
    (HOSPITAL, R::Nurse, "Fenella", "Gallowglass", "RN", "", 0),
    (HOSPITAL, R::Nurse, "Octavio", "Bramblett", "RN", "", 0),
    (HOSPITAL, R::Registrar, "Mirabel", "Sundgren", "", "", 0),
    (HOSPITAL, R::LaboratoryStaff, "Thaddeus", "Kowalczyk", "MLS", "", 0),
    (HOSPITAL, R::PrivacyOfficer, "Genevieve", "Ashcombe", "JD", "", 0),
    (HOSPITAL, R::SecurityOfficer, "Lucian", "Vandermeer", "CISSP", "", 0),
    (HOSPITAL, R::Administrator, "Philippa", "Ostrander", "", "", 0),
    (LABORATORY, R::Clinician, "Evander", "Muthusamy", "MD", "Clinical Pathology", 201_120_141),
    (LABORATORY, R::LaboratoryStaff, "Beatrix", "Lonsdale", "MLS", "", 0),
    (LABORATORY, R::LaboratoryStaff, "Rafiq", "Tennyson", "MLT", "", 0),
    (LABORATORY, R::Registrar, "Corisande", "Pickering", "", "", 0),
    (LABORATORY, R::PrivacyOfficer, "Alaric", "Thornbury", "", "", 0),
    (TRANSCRIPTION, R::Transcriptionist, "Honora", "Quimby", "CHDS", "", 0),
    (TRANSCRIPTION, R::Transcriptionist, "Lazlo", "Fenwright", "CHDS", "", 0),
    (TRANSCRIPTION, R::PrivacyOfficer, "Dorothea", "Maplethorpe", "", "", 0),
    (
        EMPLOYER,
        R::OccupationalClinician,
        "Solveig",
        "Hartigan",
        "MD",
        "Occupational Medicine",
        201_120_151,
    ),
    (
        EMPLOYER,
        R::OccupationalClinician,
        "Emeka",
        "Strickler",
        "PA-C",
        "Occupational Medicine",
        201_120_152,
    ),
    (EMPLOYER, R::Nurse, "Jocasta", "Wetherell", "RN", "", 0),
    (EMPLOYER, R::EmployerManager, "Royce", "Dunwoody", "", "", 0),
    (EMPLOYER, R::PrivacyOfficer, "Ottoline", "Grimshaw", "", "", 0),
];

/// The sample community: seven organizations and their staff. Always the same.
///
/// # Panics
/// Never: the identifiers are constants, checked by tests.
pub fn community() -> Community {
    let organizations = ORGANIZATIONS
        .iter()
        .map(|row| Organization {
            id: organization_id(row.slug),
            slug: row.slug,
            name: row.name,
            kind: row.kind,
            street: row.place[0],
            city: row.place[1],
            state: row.place[2],
            zip: row.place[3],
            phone: row.phone,
            oid: row.oid,
            application: row.application,
            facility: row.facility,
            npi: npi_from_stem(row.npi_stem),
            interfaces: row
                .channels
                .iter()
                .map(|&channel| Interface {
                    principal: principal_id(&format!("{}@{}", channel.as_str(), row.slug)),
                    channel,
                })
                .collect(),
        })
        .collect();
    let staff = STAFF
        .iter()
        .map(|&(slug, role, given, family, degree, specialty, stem)| Member {
            login: principal_id(&login(role, given, family)),
            organization: organization_id(slug),
            slug,
            role,
            given,
            family,
            degree,
            specialty,
            npi: (stem != 0).then(|| npi_from_stem(stem)),
        })
        .collect();
    Community { name: "Three Rivers Health Exchange", organizations, staff }
}

fn login(role: StaffRole, given: &str, family: &str) -> String {
    let treats = matches!(role, StaffRole::Clinician | StaffRole::OccupationalClinician);
    let title = if treats { "dr." } else { "" };
    format!("{title}{given}.{family}").to_ascii_lowercase()
}

fn organization_id(slug: &str) -> OrganizationId {
    OrganizationId::new(slug).expect("slugs are constants")
}

fn principal_id(text: &str) -> PrincipalId {
    PrincipalId::new(text).expect("logins are constants")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::npi_is_valid;
    use std::collections::BTreeSet;

    #[test]
    fn every_role_has_somebody_and_nobody_shares_a_login() {
        let community = community();
        for role in StaffRole::ALL {
            assert!(community.staff.iter().any(|member| member.role == role), "{role:?}");
        }
        let logins: BTreeSet<_> = community.staff.iter().map(|member| &member.login).collect();
        assert_eq!(logins.len(), community.staff.len());
        assert!(logins.iter().any(|login| login.as_str() == "dr.amara.okafor"));
    }

    #[test]
    fn every_provider_number_has_a_right_check_digit_and_is_unique() {
        let community = community();
        let mut seen = BTreeSet::new();
        let staff = community.staff.iter().filter_map(|member| member.npi.clone());
        for npi in staff.chain(community.organizations.iter().map(|o| o.npi.clone())) {
            assert!(npi_is_valid(&npi), "{npi}");
            assert!(npi.starts_with('2'), "{npi} could have been issued");
            assert!(seen.insert(npi.clone()), "{npi} twice");
        }
    }

    #[test]
    fn every_clinician_can_be_named_in_a_message() {
        for member in &community().staff {
            let signs =
                matches!(member.role, StaffRole::Clinician | StaffRole::OccupationalClinician);
            assert_eq!(member.npi.is_some(), signs, "{}", member.login);
        }
    }
}
