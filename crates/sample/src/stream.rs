//! The message stream: a year in the life of the community, in sending order.

use holdfast_base::PrincipalId;
use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, ToSpan};

use crate::community::{Channel, Community, community};
use crate::facts::{Fact, Facts};
use crate::life::Life;
use crate::person::persons;
use crate::registration::Variation;

/// What to generate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Number of persons.
    pub patients: u32,
    /// Equal seeds give equal streams.
    pub seed: u64,
    /// First day of the stream; it lasts about eleven months.
    pub start: Date,
    /// Messages in a thousand that are damaged on purpose; 0 in a clean stream.
    pub faults_per_mille: u32,
}

impl Default for Options {
    /// Three hundred persons, seed 1, from Monday the 6th of January 2025, clean.
    fn default() -> Self {
        Self { patients: 300, seed: 1, start: jiff::civil::date(2025, 1, 6), faults_per_mille: 0 }
    }
}

/// One message, ready to be sent. `Debug` prints no content.
#[derive(Clone, PartialEq, Eq)]
pub struct Item {
    /// The sending organization's slug.
    pub organization: &'static str,
    /// The account of the interface that it goes through.
    pub interface: PrincipalId,
    /// How it travels.
    pub channel: Channel,
    /// What it is: `ADT^A01`, `CCD`, `Bundle`.
    pub kind: &'static str,
    /// A name for the file, unique in the stream; says nothing about the person.
    pub file_name: String,
    /// The message. HL7 v2 without MLLP framing.
    pub bytes: Vec<u8>,
    /// Number of the person, from 1, as in the truth table.
    pub person: u32,
    /// Local time at which the sender sends it.
    pub at: DateTime,
    /// What was damaged, in a stream with faults.
    pub fault: Option<&'static str>,
}

impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Item({} {} {} bytes)", self.organization, self.kind, self.bytes.len())
    }
}

/// A line of the truth table: this record of this organization is this person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TruthRow {
    /// Number of the person, from 1.
    pub person: u32,
    /// The organization's slug.
    pub organization: &'static str,
    /// Record number there.
    pub record_number: String,
    /// The record number that an A40 merged this one into.
    pub merged_into: Option<String>,
    /// How the first registration differs from the truth.
    pub variations: Vec<Variation>,
}

/// A whole stream with what is true about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// The messages in sending order.
    pub items: Vec<Item>,
    /// Who is who, ordered by person.
    pub truth: Vec<TruthRow>,
    /// Every value that would give a person away, sorted, each once.
    pub facts: Vec<Fact>,
}

/// The messages of [`stream`], for those who need nothing else.
pub fn generate(options: &Options) -> impl Iterator<Item = Item> + use<> {
    stream(options).items.into_iter()
}

/// Generates the stream. Memory: about 40 kB a person.
pub fn stream(options: &Options) -> Stream {
    let community = community();
    let mut facts = Facts::default();
    let mut truth = Vec::new();
    let mut items = Vec::new();
    for person in &persons(options.patients, options.seed, options.start) {
        let life = Life::new(&community, person, options, &mut facts);
        let (mut sent, mut rows) = life.live();
        items.append(&mut sent);
        truth.append(&mut rows);
    }
    items.sort_by_key(|item| (item.at, item.person));
    for (place, item) in items.iter_mut().enumerate() {
        let extension = match item.channel {
            Channel::Hl7v2 => "hl7",
            Channel::Ccda => "xml",
            Channel::Fhir => "json",
        };
        let kind = item.kind.to_ascii_lowercase().replace('^', "-");
        item.file_name = format!("{:06}-{kind}.{extension}", place + 1);
    }
    if options.faults_per_mille > 0 {
        crate::fault::damage(&mut items, options);
    }
    Stream { items, truth, facts: facts.into_sorted() }
}

/// The stream as files: `messages/<organization>/<file>`, `truth.csv` and
/// `manifest.csv`, as (relative path, bytes) in sending order. Writes nothing.
pub fn files(options: &Options) -> Vec<(String, Vec<u8>)> {
    let stream = stream(options);
    let mut manifest = String::from("file,organization,interface,channel,kind,sent,person,fault\n");
    let mut truth = String::from("person,organization,record_number,merged_into,variations\n");
    for row in &stream.truth {
        let variations: Vec<_> =
            row.variations.iter().map(|variation| variation.as_str()).collect();
        truth += &format!(
            "{},{},{},{},{}\n",
            row.person,
            row.organization,
            row.record_number,
            row.merged_into.as_deref().unwrap_or_default(),
            variations.join(" ")
        );
    }
    let mut files = Vec::with_capacity(stream.items.len() + 2);
    for item in stream.items {
        let path = format!("messages/{}/{}", item.organization, item.file_name);
        manifest += &format!(
            "{path},{},{},{},{},{},{},{}\n",
            item.organization,
            item.interface,
            item.channel.as_str(),
            item.kind,
            item.at,
            item.person,
            item.fault.unwrap_or_default()
        );
        files.push((path, item.bytes));
    }
    files.push(("truth.csv".to_owned(), truth.into_bytes()));
    files.push(("manifest.csv".to_owned(), manifest.into_bytes()));
    files
}

/// `day` days after `start`, at an office hour.
pub(crate) fn moment(start: Date, day: i64, minute_of_day: i64) -> DateTime {
    let date = start.saturating_add(day.days());
    let midnight = date.at(0, 0, 0, 0);
    midnight.saturating_add(SignedDuration::from_mins(minute_of_day))
}

/// The place of an organization in the community's list.
pub(crate) fn place_of(community: &Community, slug: &str) -> usize {
    community.organizations.iter().position(|o| o.slug == slug).unwrap_or_default()
}
