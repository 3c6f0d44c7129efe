//! Conditions, medicines, allergies and vaccines of the sample persons.

use crate::person::Sex;

/// A condition with what a record says about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) icd10: &'static str,
    pub(crate) icd10_text: &'static str,
    pub(crate) snomed: &'static str,
    pub(crate) name: &'static str,
    pub(crate) ages: (i64, i64),
    /// Share of persons of that age who have it.
    pub(crate) percent: u32,
    pub(crate) sex: Option<Sex>,
    /// Whether a neurologist follows it.
    pub(crate) neurological: bool,
    pub(crate) medicine: Option<Medicine>,
}

/// A medicine: RxNorm ingredient, its name, and the dose as a list writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Medicine {
    pub(crate) rxnorm: &'static str,
    pub(crate) name: &'static str,
    pub(crate) dose: &'static str,
}

const fn rx(rxnorm: &'static str, name: &'static str, dose: &'static str) -> Option<Medicine> {
    Some(Medicine { rxnorm, name, dose })
}

macro_rules! condition {
    ($icd:literal $icd_text:literal, $snomed:literal $name:literal, $from:literal..$to:literal,
     $percent:literal, $neuro:literal, $medicine:expr) => {
        Condition {
            icd10: $icd,
            icd10_text: $icd_text,
            snomed: $snomed,
            name: $name,
            ages: ($from, $to),
            percent: $percent,
            sex: None,
            neurological: $neuro,
            medicine: $medicine,
        }
    };
}

#[rustfmt::skip]
pub(crate) const CONDITIONS: &[Condition] = &[
    condition!("I10" "Essential (primary) hypertension", "59621000" "Essential hypertension", 35..99, 38, false, rx("29046", "lisinopril", "10 mg by mouth daily")),
    condition!("E11.9" "Type 2 diabetes mellitus without complications", "44054006" "Type 2 diabetes mellitus", 35..99, 20, false, rx("6809", "metformin", "500 mg by mouth twice daily")),
    condition!("E78.5" "Hyperlipidemia, unspecified", "55822004" "Hyperlipidemia", 35..99, 34, false, rx("83367", "atorvastatin", "20 mg by mouth at bedtime")),
    condition!("E03.9" "Hypothyroidism, unspecified", "40930008" "Hypothyroidism", 25..99, 9, false, rx("10582", "levothyroxine", "50 mcg by mouth every morning")),
    condition!("E66.9" "Obesity, unspecified", "414916001" "Obesity", 18..80, 22, false, None),
    condition!("N18.30" "Chronic kidney disease, stage 3 unspecified", "433144002" "Chronic kidney disease stage 3", 60..99, 12, false, None),
    condition!("D50.9" "Iron deficiency anemia, unspecified", "87522002" "Iron deficiency anemia", 14..90, 7, false, rx("24947", "ferrous sulfate", "325 mg by mouth daily")),
    condition!("I48.91" "Unspecified atrial fibrillation", "49436004" "Atrial fibrillation", 60..99, 9, false, rx("1364430", "apixaban", "5 mg by mouth twice daily")),
    condition!("I50.9" "Heart failure, unspecified", "84114007" "Heart failure", 60..99, 7, false, rx("4603", "furosemide", "20 mg by mouth daily")),
    condition!("J44.9" "Chronic obstructive pulmonary disease, unspecified", "13645005" "Chronic obstructive pulmonary disease", 50..99, 8, false, rx("435", "albuterol", "2 puffs every 4 hours as needed")),
    condition!("J45.909" "Unspecified asthma, uncomplicated", "195967001" "Asthma", 4..60, 9, false, rx("435", "albuterol", "2 puffs every 4 hours as needed")),
    condition!("J30.9" "Allergic rhinitis, unspecified", "61582004" "Allergic rhinitis", 4..70, 14, false, rx("20610", "cetirizine", "10 mg by mouth daily")),
    condition!("K21.9" "Gastro-esophageal reflux disease without esophagitis", "235595009" "Gastroesophageal reflux disease", 20..90, 15, false, rx("7646", "omeprazole", "20 mg by mouth before breakfast")),
    condition!("F32.A" "Depression, unspecified", "35489007" "Depressive disorder", 16..85, 10, false, rx("36437", "sertraline", "50 mg by mouth daily")),
    condition!("M17.9" "Osteoarthritis of knee, unspecified", "239873007" "Osteoarthritis of knee", 50..95, 16, false, rx("161", "acetaminophen", "650 mg by mouth as needed")),
    condition!("M54.50" "Low back pain, unspecified", "279039007" "Low back pain", 20..80, 10, false, rx("5640", "ibuprofen", "400 mg by mouth as needed")),
    condition!("G43.909" "Migraine, unspecified, not intractable, without status migrainosus", "37796009" "Migraine", 14..65, 12, true, rx("38404", "topiramate", "50 mg by mouth twice daily")),
    condition!("G40.909" "Epilepsy, unspecified, not intractable, without status epilepticus", "84757009" "Epilepsy", 6..80, 4, true, rx("114477", "levetiracetam", "750 mg by mouth twice daily")),
    condition!("G20.A1" "Parkinson's disease without dyskinesia, without mention of fluctuations", "49049000" "Parkinson's disease", 60..95, 5, true, rx("2019", "carbidopa and levodopa", "25/100 mg by mouth three times daily")),
    condition!("G35" "Multiple sclerosis", "24700007" "Multiple sclerosis", 22..60, 3, true, rx("1373478", "dimethyl fumarate", "240 mg by mouth twice daily")),
    condition!("G62.9" "Polyneuropathy, unspecified", "42345000" "Polyneuropathy", 45..95, 8, true, rx("25480", "gabapentin", "300 mg by mouth at bedtime")),
    condition!("G25.0" "Essential tremor", "609558009" "Essential tremor", 40..95, 5, true, rx("8787", "propranolol", "40 mg by mouth twice daily")),
    condition!("G56.00" "Carpal tunnel syndrome, unspecified upper limb", "57406009" "Carpal tunnel syndrome", 25..70, 6, true, None),
];

/// An allergy or intolerance.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Allergy {
    /// RxNorm ingredient.
    pub(crate) rxnorm: &'static str,
    pub(crate) name: &'static str,
    /// SNOMED CT code of the reaction and its name.
    pub(crate) reaction: (&'static str, &'static str),
    /// HL7 table 0128.
    pub(crate) severity: &'static str,
}

pub(crate) const ALLERGIES: &[Allergy] = &[
    Allergy {
        rxnorm: "70618",
        name: "penicillin",
        reaction: ("247472004", "Hives"),
        severity: "MO",
    },
    Allergy {
        rxnorm: "10180",
        name: "sulfamethoxazole",
        reaction: ("271807003", "Eruption of skin"),
        severity: "MO",
    },
    Allergy { rxnorm: "2670", name: "codeine", reaction: ("422587007", "Nausea"), severity: "MI" },
    Allergy { rxnorm: "1191", name: "aspirin", reaction: ("56018004", "Wheezing"), severity: "SV" },
    Allergy {
        rxnorm: "29046",
        name: "lisinopril",
        reaction: ("49727002", "Cough"),
        severity: "MI",
    },
];

/// A vaccine: CVX code and name, MVX code and name of the maker, ages at which
/// it is given, dose in millilitres.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Vaccine {
    pub(crate) cvx: &'static str,
    pub(crate) name: &'static str,
    pub(crate) mvx: (&'static str, &'static str),
    pub(crate) ages: (i64, i64),
    pub(crate) dose_ml: &'static str,
    /// HL7 table 0162: route, as NCI thesaurus code and text.
    pub(crate) route: (&'static str, &'static str),
}

const INTRAMUSCULAR: (&str, &str) = ("C28161", "Intramuscular");
const SUBCUTANEOUS: (&str, &str) = ("C38299", "Subcutaneous");

#[rustfmt::skip]
pub(crate) const VACCINES: &[Vaccine] = &[
    Vaccine { cvx: "20", name: "DTaP", mvx: ("SKB", "GlaxoSmithKline"), ages: (1, 6), dose_ml: "0.5", route: INTRAMUSCULAR },
    Vaccine { cvx: "10", name: "IPV", mvx: ("PMC", "Sanofi Pasteur"), ages: (1, 6), dose_ml: "0.5", route: INTRAMUSCULAR },
    Vaccine { cvx: "03", name: "MMR", mvx: ("MSD", "Merck and Co., Inc."), ages: (1, 6), dose_ml: "0.5", route: SUBCUTANEOUS },
    Vaccine { cvx: "21", name: "varicella", mvx: ("MSD", "Merck and Co., Inc."), ages: (1, 6), dose_ml: "0.5", route: SUBCUTANEOUS },
    Vaccine { cvx: "115", name: "Tdap", mvx: ("SKB", "GlaxoSmithKline"), ages: (11, 64), dose_ml: "0.5", route: INTRAMUSCULAR },
    Vaccine { cvx: "165", name: "HPV9", mvx: ("MSD", "Merck and Co., Inc."), ages: (11, 26), dose_ml: "0.5", route: INTRAMUSCULAR },
    Vaccine { cvx: "150", name: "influenza, injectable, quadrivalent, preservative free", mvx: ("PMC", "Sanofi Pasteur"), ages: (2, 64), dose_ml: "0.5", route: INTRAMUSCULAR },
    Vaccine { cvx: "187", name: "zoster recombinant", mvx: ("SKB", "GlaxoSmithKline"), ages: (50, 99), dose_ml: "0.5", route: INTRAMUSCULAR },
    Vaccine { cvx: "216", name: "Pneumococcal conjugate PCV20, polysaccharide CRM197 conjugate, adjuvant, preservative free", mvx: ("PFR", "Pfizer, Inc"), ages: (65, 99), dose_ml: "0.5", route: INTRAMUSCULAR },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::snomed_is_valid;

    #[test]
    fn every_snomed_code_has_a_right_check_digit() {
        let conditions = CONDITIONS.iter().map(|condition| condition.snomed);
        for code in conditions.chain(ALLERGIES.iter().map(|allergy| allergy.reaction.0)) {
            assert!(snomed_is_valid(code), "{code}");
        }
    }
}
