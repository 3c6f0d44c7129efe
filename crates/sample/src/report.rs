//! Dictated reports: what a physician says into a microphone, with the
//! person's own story in it.

use jiff::civil::Date;

use crate::dice::Dice;
use crate::person::{Person, Sex};

/// Kind of report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReportKind {
    Consultation,
    DischargeSummary,
    Electroencephalogram,
}

impl ReportKind {
    pub(crate) fn loinc(self) -> &'static str {
        match self {
            Self::Consultation => "11488-4",
            Self::DischargeSummary => "18842-5",
            Self::Electroencephalogram => "11523-8",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Consultation => "Consult note",
            Self::DischargeSummary => "Discharge summary",
            Self::Electroencephalogram => "EEG study",
        }
    }

    /// HL7 table 0270.
    pub(crate) fn type_code(self) -> &'static str {
        match self {
            Self::Consultation => "CN",
            Self::DischargeSummary => "DS",
            Self::Electroencephalogram => "PC",
        }
    }
}

/// A headed part of a report.
pub(crate) struct Section {
    pub(crate) heading: &'static str,
    pub(crate) sentences: Vec<String>,
}

/// A dictated report.
pub(crate) struct Report {
    pub(crate) kind: ReportKind,
    pub(crate) sections: Vec<Section>,
}

/// What sentences are filled with.
struct Story<'a> {
    person: &'a Person,
    name: &'a str,
    age: i64,
    title: &'static str,
    she: &'static str,
    her: &'static str,
    complaint: &'static Complaint,
}

struct Complaint {
    /// ICD-10-CM code that it belongs to; empty: for anybody.
    icd10: &'static str,
    problem: &'static str,
    course: &'static [&'static str],
    findings: &'static [&'static str],
    plan: &'static [&'static str],
}

#[rustfmt::skip]
const COMPLAINTS: &[Complaint] = &[
    Complaint { icd10: "G43.909", problem: "recurrent throbbing headaches",
        course: &["They are mostly left-sided, build over an hour, and bring photophobia and nausea.", "Bright light, missed meals and the days before a storm set them off.", "About a third are preceded by shimmering zigzag lines in the right visual field."],
        findings: &["Fundi are sharp bilaterally and visual fields are full to confrontation.", "There is mild tenderness over the left temporalis without cords or pulselessness."],
        plan: &["We will keep topiramate at night and add a triptan for rescue, no more than two days a week.", "A headache diary was handed over and the limits on over-the-counter analgesics were explained."] },
    Complaint { icd10: "G40.909", problem: "breakthrough seizures",
        course: &["The events start with a rising feeling in the stomach, then staring and lip smacking for about a minute.", "The last one was witnessed at the dinner table and was followed by confusion for twenty minutes."],
        findings: &["There is no tongue laceration, and the cranial nerves are intact.", "Coordination is normal apart from a fine postural tremor that I attribute to medication."],
        plan: &["Levetiracetam will go up by one step and a trough level will be drawn in two weeks.", "State driving rules and seizure precautions around water and heights were reviewed again."] },
    Complaint { icd10: "G20.A1", problem: "slowness and a resting tremor",
        course: &["Handwriting has shrunk and buttons take twice as long as they did last winter.", "The tremor began in one hand and is worst when watching television.", "There have been two near falls when turning in the kitchen."],
        findings: &["There is cogwheel rigidity at the wrist with a four to five hertz pill-rolling tremor.", "Arm swing is reduced on the right and the pull test takes two steps to recover."],
        plan: &["Carbidopa and levodopa will be taken half an hour before meals and moved to four doses.", "A referral to physical therapy for balance and large-amplitude training has been placed."] },
    Complaint { icd10: "G35", problem: "new numbness in both legs",
        course: &["The numbness climbed from the feet to the waist within four days and a band-like tightness followed.", "Heat makes the vision in the left eye dim for some minutes."],
        findings: &["Vibration is reduced at both ankles and there is a relative afferent pupillary defect on the left.", "Reflexes are brisk at the knees with an extensor plantar response on the right."],
        plan: &["Magnetic resonance imaging of brain and cervical spine with contrast has been ordered.", "A three-day course of methylprednisolone was offered and the white count will be rechecked."] },
    Complaint { icd10: "G62.9", problem: "burning feet at night",
        course: &["The burning began in the toes about two years ago and now reaches mid-calf on both sides.", "Bed sheets are hard to bear and sleep is broken three or four times a night."],
        findings: &["Pinprick is reduced in a stocking distribution to the mid-calf and ankle jerks are absent.", "Romberg is mildly positive and there is no foot ulcer."],
        plan: &["Gabapentin will be raised in steps, watching for sedation, and B12 and protein electrophoresis are pending.", "Foot care was discussed at length and a podiatry visit is being arranged."] },
    Complaint { icd10: "G25.0", problem: "shaking of both hands",
        course: &["It is most troublesome with soup spoons and signing checks, and a glass of wine quiets it.", "A parent and an uncle had the same shaking in their sixties."],
        findings: &["There is an eight hertz action tremor of both arms without rest component or rigidity.", "The spiral drawing is tremulous on both sides, the right worse than the left."],
        plan: &["Propranolol will be increased as pulse and blood pressure allow.", "We discussed weighted utensils and, for later, focused ultrasound."] },
    Complaint { icd10: "G56.00", problem: "tingling of the thumb and first two fingers",
        course: &["It wakes the patient at three in the morning and shaking the hand brings relief.", "Holding the telephone or the steering wheel brings it back."],
        findings: &["Tinel and Phalen signs are positive and there is slight weakness of thumb abduction.", "There is no thenar wasting and the neck moves freely."],
        plan: &["Nerve conduction studies are scheduled and a neutral wrist splint is to be worn at night.", "If conduction across the wrist is slowed, we will refer to hand surgery."] },
    Complaint { icd10: "I50.9", problem: "shortness of breath and swelling of the legs",
        course: &["Three pillows are needed at night and weight had risen by nine pounds in two weeks.", "Salted food at a family gathering seems to have been the last straw."],
        findings: &["There are crackles to the mid zones and pitting edema to the knees.", "Jugular venous pressure is ten centimeters above the sternal angle."],
        plan: &["Intravenous furosemide brought a good diuresis and the oral dose was doubled for home.", "Daily weights, a two-gram sodium diet and a visit within seven days were arranged."] },
    Complaint { icd10: "", problem: "spells of lightheadedness",
        course: &["They come on rising from a chair, last less than a minute, and have not led to a fall.", "There is no vertigo, no palpitation and no loss of awareness.", "Fluid intake has been poor since the beginning of the summer shift."],
        findings: &["Systolic pressure falls by eighteen on standing with an appropriate rise of the pulse.", "Gait is steady and the Dix-Hallpike maneuver is negative on both sides."],
        plan: &["Fluids, slow rising and compression stockings were advised before any medicine.", "A heart rhythm monitor for fourteen days was ordered to be on the safe side."] },
    Complaint { icd10: "", problem: "forgetfulness noticed by the family",
        course: &["Appointments are missed and the same question is asked several times within an hour.", "Bills were paid twice in the spring, and a child now keeps the checkbook."],
        findings: &["Montreal Cognitive Assessment is twenty-three of thirty with points lost in delayed recall.", "Naming and fluency are preserved and there is no apraxia."],
        plan: &["Thyroid function, B12 and a brain scan will look for what can be reversed.", "Neuropsychological testing is scheduled and the family will keep a log."] },
];

const SINCE: &[&str] = &[
    "three weeks",
    "two months",
    "about six months",
    "nearly a year",
    "the better part of two years",
    "five or six weeks",
];
const HOW_OFTEN: &[&str] =
    &["twice a week", "almost daily", "every other week", "four times a month", "most evenings"];
const TRADES: &[&str] = &[
    "a retired schoolteacher",
    "a long-haul driver",
    "a machinist",
    "a bookkeeper for a grain elevator",
    "a cook at a county school",
    "a dairy farmer",
    "a dental assistant",
    "a church organist",
    "a night-shift welder",
    "a librarian",
    "a carpenter",
    "a bus mechanic",
];
const LIVES: &[&str] = &[
    "lives with a spouse and an elderly dog",
    "lives alone on the second floor",
    "shares a farmhouse with two grown children",
    "lives with a sister",
    "looks after two grandchildren on weekdays",
];

/// A consultation about what ails `person`, dictated on `on`. `name` is how the
/// patient is called in the record.
pub(crate) fn consultation(
    person: &Person,
    name: &str,
    asked_by: &str,
    on: Date,
    dice: &mut Dice,
) -> Report {
    let story = story(person, name, on, dice, true);
    let sections = vec![
        section(
            "REASON FOR CONSULTATION",
            vec![format!(
                "{} is a {}-year-old {} seen at the request of {asked_by} for {}.",
                story.name,
                story.age,
                person.sex.word(),
                story.complaint.problem
            )],
        ),
        section("HISTORY OF PRESENT ILLNESS", present_illness(&story, dice)),
        section("PAST MEDICAL HISTORY", past_history(&story)),
        section("MEDICATIONS AND ALLERGIES", medicines(&story)),
        section("SOCIAL HISTORY", social(&story, dice)),
        section("EXAMINATION", examination(&story, dice)),
        section("IMPRESSION AND PLAN", plan(&story, on, dice)),
    ];
    Report { kind: ReportKind::Consultation, sections }
}

/// A discharge summary.
pub(crate) fn discharge_summary(
    person: &Person,
    name: &str,
    admitted: Date,
    discharged: Date,
    dice: &mut Dice,
) -> Report {
    let story = story(person, name, discharged, dice, false);
    let (from, to) = (spoken(admitted), spoken(discharged));
    let mut course = present_illness(&story, dice);
    course.push(format!(
        "{} was admitted on {from}, improved steadily on the ward, and was walking the corridor by day {}.",
        story.name,
        dice.between(2, 3)
    ));
    let sections = vec![
        section(
            "ADMISSION AND DISCHARGE",
            vec![format!(
                "{}, aged {}, was admitted on {from} and discharged home on {to} with {}.",
                story.name, story.age, story.complaint.problem
            )],
        ),
        section("HOSPITAL COURSE", course),
        section("PAST MEDICAL HISTORY", past_history(&story)),
        section("CONDITION AT DISCHARGE", examination(&story, dice)),
        section("DISCHARGE MEDICATIONS", medicines(&story)),
        section("FOLLOW-UP", plan(&story, discharged, dice)),
    ];
    Report { kind: ReportKind::DischargeSummary, sections }
}

/// The reading of an electroencephalogram.
pub(crate) fn electroencephalogram(
    person: &Person,
    name: &str,
    on: Date,
    dice: &mut Dice,
) -> Report {
    let story = story(person, name, on, dice, true);
    let rhythm = dice.between(8, 11);
    let side = *dice.pick(&["left", "right"]);
    let active = person.has("G40.909");
    let finding = if active {
        format!(
            "Sharp waves with aftergoing slowing arise over the {side} anterior temporal region, about {} an hour, more in drowsiness.",
            dice.between(6, 40)
        )
    } else {
        format!(
            "No epileptiform discharge is seen in {} minutes of recording.",
            dice.between(28, 44)
        )
    };
    let verdict = if active {
        format!("This tracing of {} supports a {side} temporal seizure tendency.", story.name)
    } else {
        format!(
            "This is a normal awake and drowsy tracing for {} at the age of {}.",
            story.name, story.age
        )
    };
    let sections = vec![
        section("INDICATION", vec![format!(
            "{} is studied because of {} over {}.",
            story.name,
            story.complaint.problem,
            dice.pick(SINCE)
        )]),
        section("DESCRIPTION", vec![
            format!("The posterior dominant rhythm is {rhythm} hertz, reactive, {} microvolts in amplitude.", dice.between(25, 60)),
            "Hyperventilation and photic stimulation were carried out without provoking an event.".to_owned(),
            finding,
        ]),
        section("INTERPRETATION", vec![verdict, format!("The result was telephoned to the referring office on {}.", spoken(on))]),
    ];
    Report { kind: ReportKind::Electroencephalogram, sections }
}

fn section(heading: &'static str, sentences: Vec<String>) -> Section {
    Section { heading, sentences }
}

fn story<'a>(
    person: &'a Person,
    name: &'a str,
    on: Date,
    dice: &mut Dice,
    neurological: bool,
) -> Story<'a> {
    let own: Vec<_> = COMPLAINTS
        .iter()
        .filter(|complaint| person.has(complaint.icd10))
        .filter(|complaint| complaint.icd10.starts_with('G') == neurological)
        .collect();
    let anybody: Vec<_> =
        COMPLAINTS.iter().filter(|complaint| complaint.icd10.is_empty()).collect();
    let age = person.age_on(on);
    let grown = if age >= 60 { anybody.len() } else { 1 };
    let complaint = if own.is_empty() { *dice.pick(&anybody[..grown]) } else { *dice.pick(&own) };
    let (title, she, her) = match (person.sex, age) {
        (Sex::Female, 18..) => ("Ms.", "she", "her"),
        (Sex::Male, 18..) => ("Mr.", "he", "his"),
        (Sex::Female, _) => ("Miss", "she", "her"),
        (Sex::Male, _) => ("Master", "he", "his"),
    };
    Story { person, name, age, title, she, her, complaint }
}

fn family(story: &Story<'_>) -> String {
    format!("{} {}", story.title, story.person.family)
}

fn present_illness(story: &Story<'_>, dice: &mut Dice) -> Vec<String> {
    let mut sentences = vec![format!(
        "{} describes {} for {}, now {}.",
        family(story),
        story.complaint.problem,
        dice.pick(SINCE),
        dice.pick(HOW_OFTEN)
    )];
    sentences.extend(story.complaint.course.iter().map(|&sentence| sentence.to_owned()));
    sentences.push(format!(
        "On a scale of ten {} rates the trouble at {} on an ordinary day and {} at its worst.",
        story.she,
        dice.between(2, 5),
        dice.between(6, 9)
    ));
    if dice.chance(60) {
        sentences.push(format!(
            "{} family confirms the account and adds that {} has missed {} days of work or school since the last visit.",
            capital(story.her),
            story.she,
            dice.between(1, 12)
        ));
    }
    sentences
}

fn past_history(story: &Story<'_>) -> Vec<String> {
    let names: Vec<String> =
        story.person.conditions.iter().map(|condition| condition.name.to_lowercase()).collect();
    let first = if names.is_empty() {
        format!("{} has been in good health.", family(story))
    } else {
        format!("{} carries diagnoses of {}.", family(story), joined(&names))
    };
    vec![first]
}

fn medicines(story: &Story<'_>) -> Vec<String> {
    let names: Vec<String> = story
        .person
        .conditions
        .iter()
        .filter_map(|condition| condition.medicine)
        .map(|medicine| format!("{} {}", medicine.name, medicine.dose))
        .collect();
    let taken = if names.is_empty() {
        "No regular medicines are taken.".to_owned()
    } else {
        format!("{} takes {}.", capital(story.she), joined(&names))
    };
    let allergy = story.person.allergy.map_or_else(
        || "No drug allergy is known.".to_owned(),
        |allergy| {
            format!(
                "{} reports {} after {}.",
                capital(story.she),
                allergy.reaction.1.to_lowercase(),
                allergy.name
            )
        },
    );
    vec![taken, allergy]
}

fn social(story: &Story<'_>, dice: &mut Dice) -> Vec<String> {
    let tobacco = if story.person.smoker {
        format!("smokes {} cigarettes a day", dice.between(5, 25))
    } else {
        "does not smoke".to_owned()
    };
    if story.age < 18 {
        return vec![format!(
            "{} attends grade school in {} and lives with family.",
            story.name, story.person.home.city
        )];
    }
    let trade = if story.age < 60 { &TRADES[1..] } else { TRADES };
    vec![format!(
        "{} is {}, {}, {tobacco}, and has {} drinks a week.",
        family(story),
        dice.pick(trade),
        dice.pick(LIVES),
        dice.between(0, 9)
    )]
}

fn examination(story: &Story<'_>, dice: &mut Dice) -> Vec<String> {
    let high = i64::from(story.person.has("I10")) * 16;
    let mut sentences = vec![format!(
        "Blood pressure is {}/{}, pulse {} and regular, weight {:.1} kilograms.",
        dice.between(108, 128) + high,
        dice.between(64, 80) + high / 2,
        dice.between(58, 92),
        story.person.weight_kg
    )];
    sentences.extend(story.complaint.findings.iter().map(|&sentence| sentence.to_owned()));
    sentences
}

fn plan(story: &Story<'_>, on: Date, dice: &mut Dice) -> Vec<String> {
    let mut sentences: Vec<String> = story.complaint.plan.iter().map(|&s| s.to_owned()).collect();
    sentences.push(format!(
        "{} understood the plan in {} own words on {} and will return in {} weeks, sooner if anything changes.",
        family(story),
        story.her,
        spoken(on),
        dice.between(2, 14)
    ));
    sentences
}

/// A list with commas and `and`.
fn joined(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn spoken(date: Date) -> String {
    date.strftime("%B %-d, %Y").to_string()
}

/// A laboratory's remark under a result; names what is remarkable.
pub(crate) fn result_comment(
    rows: &[crate::labs::Measured],
    accession: &str,
    on: Date,
    dice: &mut Dice,
) -> Option<String> {
    let abnormal = rows.iter().find(|row| row.flag() != "N")?;
    let what = abnormal.analyte.name.split(" [").next().unwrap_or_default();
    let value = format!("{} {}", abnormal.text(), abnormal.analyte.unit);
    let critical = matches!(abnormal.flag(), "LL" | "HH");
    Some(match (critical, dice.below(4)) {
        (true, _) => format!(
            "Critical {what} of {value} telephoned and read back, accession {accession}, {}.",
            spoken(on)
        ),
        (_, 0) => {
            format!("{what} of {value} verified by repeat analysis of accession {accession}.")
        }
        (_, 1) => format!(
            "{what} of {value} noted on accession {accession}; clinical correlation is suggested."
        ),
        (_, 2) => format!(
            "Specimen {accession} slightly lipemic; {what} reported as {value} after ultracentrifugation."
        ),
        _ => return None,
    })
}
