//! The attack: what the thief learns on a store of his own, which attack he picks
//! there, and what it recovers from the stolen one.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::features::{Item, PATIENT_FEATURES, RESOURCE_FEATURES, Seen};
use crate::learn::{Bayes, Forest, Learned, Lessons, most_likely};
use crate::truth::{self, Truth};

/// Shares of the thief's own patients: learned from, and tried on.
const TRIED_ON_ONE_IN: usize = 3;
/// Places of byte strings whose frequency is looked at.
const PLACES_MAX: usize = 12;
/// A guess at a rare thing is judged by this share of those who look most like it.
const SUSPECTS_ONE_IN: usize = 10;

/// What is to be recovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Type of what looks like a resource; it may be none.
    ResourceType,
    /// Code of a resource that is known to be a condition.
    Condition,
    /// Code of a resource that is known to be an observation.
    Observation,
    /// Sex of a patient.
    Sex,
    /// Year of birth.
    BirthYear,
    /// Decade of birth.
    BirthDecade,
    /// Family name.
    Family,
    /// First given name.
    Given,
    /// Whether a patient has a diagnosis that people would mind most of all.
    Sensitive,
}

impl Class {
    /// All, in the order of the table.
    pub const ALL: [Self; 9] = [
        Self::ResourceType,
        Self::Condition,
        Self::Observation,
        Self::Sex,
        Self::BirthYear,
        Self::BirthDecade,
        Self::Family,
        Self::Given,
        Self::Sensitive,
    ];

    /// As the table names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ResourceType => "type of a resource",
            Self::Condition => "code of a condition",
            Self::Observation => "code of an observation",
            Self::Sex => "sex",
            Self::BirthYear => "year of birth",
            Self::BirthDecade => "decade of birth",
            Self::Family => "family name",
            Self::Given => "given name",
            Self::Sensitive => "sensitive diagnosis",
        }
    }

    fn of_resources(self) -> bool {
        matches!(self, Self::ResourceType | Self::Condition | Self::Observation)
    }

    /// The items that it is asked of.
    pub fn items(self, seen: &Seen) -> &[Item] {
        if self.of_resources() { &seen.resources } else { &seen.patients }
    }

    fn feature_names(self) -> &'static [&'static str] {
        if self.of_resources() { RESOURCE_FEATURES } else { PATIENT_FEATURES }
    }

    /// What is so of an item; `None` when it is not asked of it.
    fn truth(self, item: &Item, truth: &Truth) -> Option<String> {
        if self.of_resources() {
            let resource = truth.resources.get(&truth::name(item.tokens.first()?));
            // The truth names every resource: what else lies there stands in for one.
            let Some(resource) = resource else {
                return (self == Self::ResourceType).then(|| "none".to_owned());
            };
            return match (self, resource.kind.as_str()) {
                (Self::ResourceType, kind) => Some(kind.to_owned()),
                (Self::Condition, "Condition") | (Self::Observation, "Observation") => {
                    resource.code.clone()
                }
                _ => None,
            };
        }
        let patient = item.tokens.iter().find_map(|t| truth.patients.get(&truth::name(t)))?;
        Some(match self {
            Self::Sex => patient.sex.clone(),
            Self::BirthYear => patient.birth_year.to_string(),
            Self::BirthDecade => format!("{}s", patient.birth_year / 10 * 10),
            Self::Family => patient.family.clone(),
            Self::Given => patient.given.clone(),
            _ => patient.sensitive.to_string(),
        })
    }
}

/// One row of the table.
#[derive(Debug, Clone)]
pub struct Score {
    /// What was to be recovered.
    pub class: Class,
    /// How many values it has.
    pub values: usize,
    /// How many guesses were made.
    pub guesses: usize,
    /// Share that the attack got right; of a rare thing, share of those suspected.
    pub recovered: f64,
    /// Share that guessing blindly gets right.
    pub blind: f64,
    /// Standard error of the difference, guesses about one patient taken together.
    pub error: f64,
    /// Which attack the thief picked.
    pub attack: String,
    /// What told most, when the attack knows.
    pub clues: Vec<&'static str>,
}

impl Score {
    /// By how much the attack is better than guessing.
    pub fn difference(&self) -> f64 {
        self.recovered - self.blind
    }

    /// Half the width of the interval that holds the difference with a confidence
    /// of `deviations` standard errors.
    pub fn interval(&self, deviations: f64) -> f64 {
        self.error * deviations
    }

    /// Whether it is better than guessing beyond what chance explains.
    pub fn leaks(&self, deviations: f64) -> bool {
        self.difference() > self.interval(deviations)
    }
}

/// What a thief without the truth can say of a class.
#[derive(Debug, Clone)]
pub struct Confidence {
    /// What was to be recovered.
    pub class: Class,
    /// How many items there are.
    pub guesses: usize,
    /// Mean probability of the likeliest value.
    pub sure: f64,
    /// That of the commonest value, without looking.
    pub blind: f64,
}

/// Something that can be guessed with.
enum Attack {
    Learned(&'static str, Box<dyn Learned>, Vec<&'static str>),
    /// Byte strings at a place, ranked by frequency beside the public table.
    Ranks(usize),
}

/// A thief who has learned one class.
pub struct Thief {
    class: Class,
    /// Values, the commonest first.
    values: Vec<String>,
    shares: Vec<f64>,
    places: Vec<usize>,
    attack: Attack,
}

struct Asked<'a> {
    items: Vec<&'a Item>,
    features: Vec<Vec<f32>>,
}

impl<'a> Asked<'a> {
    fn of(items: Vec<&'a Item>, places: &[usize]) -> Self {
        let frequencies: Vec<HashMap<u64, f32>> =
            places.iter().map(|place| frequencies(&items, *place)).collect();
        let with = |item: &&Item| {
            let told = places.iter().zip(&frequencies);
            let told =
                told.map(|(place, of)| of.get(&item.strings[*place]).copied().unwrap_or(0.0));
            item.features.iter().copied().chain(told).collect()
        };
        let features = items.iter().map(with).collect();
        Self { items, features }
    }
}

/// The share of the items that have each byte string at a place.
fn frequencies(items: &[&Item], place: usize) -> HashMap<u64, f32> {
    let mut counts: HashMap<u64, f32> = HashMap::new();
    let each = 1.0 / items.len().max(1) as f32;
    for item in items {
        *counts.entry(item.strings[place]).or_default() += each;
    }
    counts
}

/// Places at which byte strings repeat in different patients, and differ: those
/// that cover most first.
fn telling_places(items: &[&Item]) -> Vec<usize> {
    let width = items.first().map_or(0, |item| item.strings.len());
    let mut found: Vec<(usize, usize)> = Vec::new();
    for place in 0..width {
        let mut owners: HashMap<u64, (usize, usize, bool)> = HashMap::new();
        for item in items {
            let owner = owners.entry(item.strings[place]).or_insert((item.patient, 0, false));
            owner.1 += 1;
            owner.2 |= owner.0 != item.patient;
        }
        let covered: usize = owners.values().filter(|owner| owner.2).map(|owner| owner.1).sum();
        if owners.len() > 1 && covered * 5 > items.len() {
            found.push((covered, place));
        }
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.truncate(PLACES_MAX);
    found.into_iter().map(|(_, place)| place).collect()
}

impl Thief {
    /// Learns a class on a store of one's own. `None` when there is nothing to learn.
    pub fn learn(class: Class, own: &Seen, truth: &Truth, seed: u64) -> Option<Self> {
        let known: Vec<(&Item, String)> = class
            .items(own)
            .iter()
            .filter_map(|item| Some((item, class.truth(item, truth)?)))
            .collect();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        known.iter().for_each(|(_, value)| *counts.entry(value).or_default() += 1);
        let mut ranked: Vec<(&str, usize)> = counts.into_iter().collect();
        ranked.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        if ranked.len() < 2 {
            return None;
        }
        let values: Vec<String> = ranked.iter().map(|(value, _)| (*value).to_owned()).collect();
        let shares = ranked.iter().map(|(_, n)| *n as f64 / known.len() as f64).collect();
        let number: HashMap<&str, usize> =
            values.iter().enumerate().map(|(number, value)| (value.as_str(), number)).collect();
        let all: Vec<&Item> = known.iter().map(|(item, _)| *item).collect();
        let labels: Vec<usize> = known.iter().map(|(_, value)| number[value.as_str()]).collect();
        let places = telling_places(&all);
        let asked = Asked::of(all, &places);

        // Tried on patients that were not learned from; the best learns from all.
        let held = |at: usize| asked.items[at].patient.is_multiple_of(TRIED_ON_ONE_IN);
        let (tried, learned): (Vec<usize>, Vec<usize>) =
            (0..labels.len()).partition(|at| held(*at));
        let lessons = |of: &[usize]| Lessons {
            features: of.iter().map(|at| asked.features[*at].as_slice()).collect(),
            labels: of.iter().map(|at| labels[*at]).collect(),
            classes: values.len(),
        };
        let part = lessons(&learned);
        let named = |attack: &str, from: &Lessons<'_>| -> Attack {
            if attack == BAYES {
                return Attack::Learned(BAYES, Box::new(Bayes::learn(from)), Vec::new());
            }
            let forest = Forest::learn(from, seed);
            let clues = clues(class, &forest.told);
            Attack::Learned(FOREST, Box::new(forest), clues)
        };
        let mut thief = Self {
            class,
            values: values.clone(),
            shares,
            places: places.clone(),
            attack: Attack::Ranks(0),
        };
        let mut best: Option<(f64, Attack)> = None;
        let candidates = [BAYES, FOREST].into_iter().map(|name| named(name, &part));
        for attack in candidates.chain(places.iter().map(|place| Attack::Ranks(*place))) {
            thief.attack = attack;
            let odds = thief.odds(&asked);
            let tried: Vec<(usize, &Vec<f32>)> =
                tried.iter().map(|at| (labels[*at], &odds[*at])).collect();
            let score = thief.worth(&tried);
            if best.as_ref().is_none_or(|(most, _)| score > *most) {
                best = Some((score, std::mem::replace(&mut thief.attack, Attack::Ranks(0))));
            }
        }
        let (_, attack) = best?;
        thief.attack = match attack {
            Attack::Learned(name, ..) => {
                let everything: Vec<usize> = (0..labels.len()).collect();
                named(name, &lessons(&everything))
            }
            ranks => ranks,
        };
        Some(thief)
    }

    /// What an attack is worth on what is known.
    fn worth(&self, tried: &[(usize, &Vec<f32>)]) -> f64 {
        if let Some(rare) = self.rare() {
            let suspects = suspects(tried.iter().map(|(_, odds)| odds[rare]).collect());
            let hits = suspects.iter().filter(|at| tried[**at].0 == rare).count();
            return hits as f64 / suspects.len().max(1) as f64;
        }
        let hits = tried.iter().filter(|(label, odds)| most_likely(odds) == *label).count();
        hits as f64 / tried.len().max(1) as f64
    }

    /// The value that is looked for, when it is a rare thing.
    fn rare(&self) -> Option<usize> {
        (self.class == Class::Sensitive).then(|| self.values.iter().position(|v| v == "true"))?
    }

    fn odds(&self, asked: &Asked<'_>) -> Vec<Vec<f32>> {
        match &self.attack {
            Attack::Learned(_, learned, _) => {
                asked.features.iter().map(|f| learned.odds(f)).collect()
            }
            Attack::Ranks(place) => {
                let mut ranked: Vec<(u64, f32)> =
                    frequencies(&asked.items, *place).into_iter().collect();
                ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
                let rank: HashMap<u64, usize> = ranked
                    .into_iter()
                    .enumerate()
                    .map(|(rank, (string, _))| (string, rank))
                    .collect();
                let odds = |item: &&Item| {
                    let mut odds = vec![0.0; self.values.len()];
                    let guess = rank.get(&item.strings[*place]).copied();
                    odds[guess.filter(|rank| *rank < self.values.len()).unwrap_or(0)] = 1.0;
                    odds
                };
                asked.items.iter().map(odds).collect()
            }
        }
    }

    fn attack_name(&self) -> String {
        match &self.attack {
            Attack::Learned(name, ..) => (*name).to_owned(),
            Attack::Ranks(place) => format!("ranks of the bytes at {}", place * 2),
        }
    }

    /// Tries what was learned on a stolen store.
    pub fn attack(&self, stolen: &Seen, truth: &Truth) -> Option<Score> {
        let known: Vec<(&Item, String)> = self
            .class
            .items(stolen)
            .iter()
            .filter_map(|item| Some((item, self.class.truth(item, truth)?)))
            .collect();
        if known.is_empty() {
            return None;
        }
        let asked = Asked::of(known.iter().map(|(item, _)| *item).collect(), &self.places);
        let odds = self.odds(&asked);
        let values: HashSet<&str> = known.iter().map(|(_, value)| value.as_str()).collect();
        let clues = match &self.attack {
            Attack::Learned(_, _, clues) => clues.clone(),
            Attack::Ranks(_) => Vec::new(),
        };
        let score = |guesses, (recovered, blind, error): (f64, f64, f64)| Score {
            class: self.class,
            values: values.len(),
            guesses,
            recovered,
            blind,
            error,
            attack: self.attack_name(),
            clues,
        };
        if let Some(rare) = self.rare() {
            let has: Vec<bool> =
                known.iter().map(|(_, value)| *value == self.values[rare]).collect();
            let suspects = suspects(odds.iter().map(|odds| odds[rare]).collect());
            let count = suspects.len() as f64;
            let hits = suspects.iter().filter(|at| has[**at]).count() as f64 / count;
            let blind = has.iter().filter(|has| **has).count() as f64 / has.len() as f64;
            let error = (blind * (1.0 - blind) / count).sqrt();
            return Some(score(suspects.len(), (hits, blind, error)));
        }
        // Per patient: guesses, hits of the attack, hits of the blind guess.
        let mut patients: BTreeMap<usize, (f64, f64, f64)> = BTreeMap::new();
        for ((item, value), odds) in known.iter().zip(&odds) {
            let sums = patients.entry(item.patient).or_default();
            sums.0 += 1.0;
            sums.1 += f64::from(self.values[most_likely(odds)] == *value);
            sums.2 += f64::from(self.values[0] == *value);
        }
        Some(score(known.len(), rates(patients.values().copied())))
    }

    /// What can be said without the truth.
    pub fn confidence(&self, stolen: &Seen) -> Confidence {
        let items: Vec<&Item> = self.class.items(stolen).iter().collect();
        let guesses = items.len();
        let odds = self.odds(&Asked::of(items, &self.places));
        let likeliest = |odds: &Vec<f32>| f64::from(odds.iter().copied().fold(0.0, f32::max));
        let sure = odds.iter().map(likeliest).sum::<f64>() / guesses.max(1) as f64;
        Confidence { class: self.class, guesses, sure, blind: self.shares[0] }
    }
}

const BAYES: &str = "naive Bayes";
const FOREST: &str = "decision trees";

/// Those of the highest odds.
fn suspects(odds: Vec<f32>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..odds.len()).collect();
    order.sort_by(|a, b| odds[*b].total_cmp(&odds[*a]));
    order.truncate((odds.len() / SUSPECTS_ONE_IN).max(1));
    order
}

/// Rates of the attack and of the blind guess, and the standard error of their
/// difference with the guesses about one patient taken together.
fn rates(patients: impl Iterator<Item = (f64, f64, f64)> + Clone) -> (f64, f64, f64) {
    let sum = patients.clone().fold((0.0, 0.0, 0.0), |s, p| (s.0 + p.0, s.1 + p.1, s.2 + p.2));
    let difference = (sum.1 - sum.2) / sum.0;
    let squares: f64 = patients.map(|(n, a, b)| (a - b - difference * n).powi(2)).sum();
    // At least what a single patient more or less would change.
    (sum.1 / sum.0, sum.2 / sum.0, squares.sqrt().max(1.0) / sum.0)
}

fn clues(class: Class, told: &[f32]) -> Vec<&'static str> {
    let names = class.feature_names();
    let mut order: Vec<usize> = (0..told.len()).collect();
    order.sort_by(|a, b| told[*b].total_cmp(&told[*a]));
    let name = |at: usize| names.get(at).copied().unwrap_or("how often a byte string repeats");
    let mut clues: Vec<&'static str> = Vec::new();
    for at in order {
        if !clues.contains(&name(at)) {
            clues.push(name(at));
        }
    }
    clues.truncate(3);
    clues
}

/// Learns every class on the thief's own store.
pub fn learn_all(own: &Seen, truth: &Truth, seed: u64) -> Vec<Thief> {
    Class::ALL.into_iter().filter_map(|class| Thief::learn(class, own, truth, seed)).collect()
}

/// Tries everything that was learned.
pub fn attack_all(thieves: &[Thief], stolen: &Seen, truth: &Truth) -> Vec<Score> {
    thieves.iter().filter_map(|thief| thief.attack(stolen, truth)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_about_one_patient_count_together() {
        // One patient with a hundred hits is one piece of evidence, not a hundred.
        let alone = (0..200).map(|_| (1.0, 1.0, 0.0)).chain((0..200).map(|_| (1.0, 0.0, 0.0)));
        let (recovered, blind, error) = rates(alone);
        assert!((recovered, blind) == (0.5, 0.0) && error < 0.03, "{error}");
        let together = [(200.0, 200.0, 0.0), (200.0, 0.0, 0.0)].into_iter();
        let (recovered, _, error) = rates(together);
        assert!(recovered == 0.5 && error > 0.3, "{error}");
    }
}
