//! Public tables: what anybody can know about a population without seeing it.
//!
//! The people of a victim are drawn from the same tables that the thief has, so
//! that the thief's outside knowledge is exact. Figures are rounded.

/// Family names with people per 100,000: the commonest of the 2010 census of the
/// United States (Census Bureau, "Frequently Occurring Surnames").
pub const FAMILIES: &[(&str, u32)] = &[
    ("Smith", 828),
    ("Johnson", 655),
    ("Williams", 551),
    ("Brown", 487),
    ("Jones", 483),
    ("Garcia", 395),
    ("Miller", 394),
    ("Davis", 378),
    ("Rodriguez", 371),
    ("Martinez", 359),
    ("Hernandez", 354),
    ("Lopez", 297),
    ("Gonzalez", 285),
    ("Wilson", 272),
    ("Anderson", 266),
    ("Thomas", 256),
    ("Taylor", 255),
    ("Moore", 246),
    ("Jackson", 240),
    ("Martin", 238),
    ("Lee", 235),
    ("Perez", 231),
    ("Thompson", 225),
    ("White", 224),
    ("Harris", 212),
    ("Sanchez", 208),
    ("Clark", 191),
    ("Ramirez", 189),
    ("Lewis", 180),
    ("Robinson", 180),
];

/// Given names of women, with weights: ranks after the Social Security
/// Administration's names of a century.
pub const WOMEN: &[(&str, u32)] = &[
    ("Mary", 300),
    ("Patricia", 154),
    ("Jennifer", 147),
    ("Linda", 145),
    ("Elizabeth", 140),
    ("Barbara", 137),
    ("Susan", 110),
    ("Jessica", 105),
    ("Sarah", 99),
    ("Karen", 98),
    ("Margaret", 96),
    ("Lisa", 96),
    ("Nancy", 91),
    ("Betty", 89),
    ("Sandra", 87),
    ("Ashley", 85),
    ("Emily", 85),
    ("Donna", 81),
    ("Michelle", 81),
    ("Amanda", 77),
];

/// Given names of men, likewise.
pub const MEN: &[(&str, u32)] = &[
    ("James", 460),
    ("Robert", 440),
    ("John", 436),
    ("Michael", 436),
    ("William", 358),
    ("David", 357),
    ("Richard", 250),
    ("Joseph", 250),
    ("Thomas", 218),
    ("Christopher", 208),
    ("Charles", 206),
    ("Daniel", 198),
    ("Matthew", 173),
    ("Anthony", 145),
    ("Mark", 133),
    ("Steven", 128),
    ("Andrew", 121),
    ("Paul", 120),
    ("Joshua", 120),
    ("Kenneth", 118),
];

/// Birth decades with their share in per mille (American Community Survey).
pub const DECADES: &[(u16, u32)] = &[
    (1930, 40),
    (1940, 75),
    (1950, 115),
    (1960, 125),
    (1970, 122),
    (1980, 132),
    (1990, 136),
    (2000, 130),
    (2010, 125),
];

/// A condition and how common it is.
#[derive(Debug)]
pub struct Condition {
    /// ICD-10-CM.
    pub code: &'static str,
    /// Its name.
    pub display: &'static str,
    /// Per mille of those below 18, 40, 65 and above.
    pub per_mille: [u32; 4],
    /// Factor for women and for men, in percent.
    pub percent: [u32; 2],
    /// Results that go with it.
    pub panels: &'static [Panel],
    /// Whether people would mind most of all.
    pub sensitive: bool,
}

const fn condition(
    code: &'static str,
    display: &'static str,
    per_mille: [u32; 4],
    percent: [u32; 2],
    panels: &'static [Panel],
) -> Condition {
    Condition { code, display, per_mille, percent, panels, sensitive: false }
}

const fn sensitive(
    code: &'static str,
    display: &'static str,
    per_mille: [u32; 4],
    percent: [u32; 2],
    panels: &'static [Panel],
) -> Condition {
    Condition { code, display, per_mille, percent, panels, sensitive: true }
}

/// Results that are taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are named as laboratories name them")]
pub enum Panel {
    Metabolic,
    BloodCount,
    Lipids,
    HemoglobinA1c,
    Thyroid,
    Clotting,
    Prostate,
    Pregnancy,
    Retroviral,
    DrugScreen,
    BoneDensity,
    Spirometry,
    Mood,
}

impl Panel {
    /// LOINC codes, names and units.
    pub fn results(self) -> &'static [(&'static str, &'static str, &'static str)] {
        match self {
            Self::Metabolic => &[
                ("2345-7", "Glucose [Mass/volume] in Serum or Plasma", "mg/dL"),
                ("3094-0", "Urea nitrogen [Mass/volume] in Serum or Plasma", "mg/dL"),
                ("2160-0", "Creatinine [Mass/volume] in Serum or Plasma", "mg/dL"),
                ("2951-2", "Sodium [Moles/volume] in Serum or Plasma", "mmol/L"),
                ("2823-3", "Potassium [Moles/volume] in Serum or Plasma", "mmol/L"),
                ("2075-0", "Chloride [Moles/volume] in Serum or Plasma", "mmol/L"),
                ("2028-9", "Carbon dioxide, total [Moles/volume] in Serum or Plasma", "mmol/L"),
                ("17861-6", "Calcium [Mass/volume] in Serum or Plasma", "mg/dL"),
            ],
            Self::BloodCount => &[
                ("6690-2", "Leukocytes [#/volume] in Blood by Automated count", "10*3/uL"),
                ("718-7", "Hemoglobin [Mass/volume] in Blood", "g/dL"),
                ("4544-3", "Hematocrit [Volume Fraction] of Blood by Automated count", "%"),
                ("777-3", "Platelets [#/volume] in Blood by Automated count", "10*3/uL"),
                ("787-2", "MCV [Entitic mean volume] in Red Blood Cells", "fL"),
            ],
            Self::Lipids => &[
                ("2093-3", "Cholesterol [Mass/volume] in Serum or Plasma", "mg/dL"),
                ("2571-8", "Triglyceride [Mass/volume] in Serum or Plasma", "mg/dL"),
                ("2085-9", "Cholesterol in HDL [Mass/volume] in Serum or Plasma", "mg/dL"),
                ("13457-7", "Cholesterol in LDL [Mass/volume] by calculation", "mg/dL"),
            ],
            Self::HemoglobinA1c => &[("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood", "%")],
            Self::Thyroid => &[("3016-3", "Thyrotropin [Units/volume] in Serum", "m[IU]/L")],
            Self::Clotting => &[("6301-6", "INR in Platelet poor plasma", "{INR}")],
            Self::Prostate => &[("2857-1", "Prostate specific Ag [Mass/volume] in Serum", "ng/mL")],
            Self::Pregnancy => &[("21198-7", "Choriogonadotropin.beta subunit in Serum", "[IU]/L")],
            Self::Retroviral => &[
                ("20447-9", "HIV 1 RNA [#/volume] (viral load) by NAA", "{copies}/mL"),
                ("24467-3", "CD3+CD4+ (T4 helper) cells [#/volume] in Blood", "/uL"),
            ],
            Self::DrugScreen => &[
                ("3397-7", "Cocaine [Presence] in Urine", "ng/mL"),
                ("3879-4", "Opiates [Presence] in Urine", "ng/mL"),
                ("3349-8", "Amphetamines [Presence] in Urine", "ng/mL"),
                ("3426-4", "Tetrahydrocannabinol [Presence] in Urine", "ng/mL"),
            ],
            Self::BoneDensity => &[("38263-0", "DXA Femur [T-score] Bone density", "{T-score}")],
            Self::Spirometry => &[
                ("20150-9", "FEV1", "L"),
                ("19868-9", "Forced vital capacity [Volume] by Spirometry", "L"),
            ],
            Self::Mood => {
                &[("44261-6", "PHQ-9 quick depression assessment total score", "{score}")]
            }
        }
    }
}

/// What is measured at most visits.
pub const VITALS: &[(&str, &str, &str)] = &[
    ("8480-6", "Systolic blood pressure", "mm[Hg]"),
    ("8462-4", "Diastolic blood pressure", "mm[Hg]"),
    ("8867-4", "Heart rate", "/min"),
    ("29463-7", "Body weight", "kg"),
    ("8310-5", "Body temperature", "Cel"),
    ("59408-5", "Oxygen saturation in Arterial blood by Pulse oximetry", "%"),
    ("8302-2", "Body height", "cm"),
    ("39156-5", "Body mass index (BMI) [Ratio]", "kg/m2"),
];

/// Share of visits at which each of [`VITALS`] is taken, in percent.
pub const VITALS_PERCENT: &[u32] = &[92, 92, 88, 80, 55, 45, 35, 30];

use Panel::*;

/// Conditions; in the order of what the Centers for Disease Control publish
/// (NHANES, FastStats), rounded.
pub const CONDITIONS: &[Condition] = &[
    condition(
        "I10",
        "Essential (primary) hypertension",
        [5, 110, 400, 690],
        [95, 105],
        &[Metabolic],
    ),
    condition("E78.5", "Hyperlipidemia, unspecified", [5, 80, 300, 480], [95, 105], &[Lipids]),
    condition("E66.9", "Obesity, unspecified", [150, 300, 350, 300], [105, 95], &[]),
    condition(
        "E11.9",
        "Type 2 diabetes mellitus without complications",
        [3, 40, 150, 260],
        [95, 105],
        &[HemoglobinA1c, Metabolic],
    ),
    condition("F41.9", "Anxiety disorder, unspecified", [80, 190, 160, 100], [130, 70], &[Mood]),
    condition("F32.A", "Depression, unspecified", [50, 150, 150, 120], [130, 70], &[Mood]),
    condition("M54.50", "Low back pain, unspecified", [10, 180, 280, 280], [105, 95], &[]),
    condition(
        "K21.9",
        "Gastro-esophageal reflux disease without esophagitis",
        [15, 110, 210, 270],
        [105, 95],
        &[],
    ),
    condition(
        "J45.909",
        "Unspecified asthma, uncomplicated",
        [90, 85, 80, 70],
        [120, 80],
        &[Spirometry],
    ),
    condition("M17.9", "Osteoarthritis of knee, unspecified", [0, 15, 140, 330], [120, 80], &[]),
    condition("E03.9", "Hypothyroidism, unspecified", [3, 25, 65, 130], [160, 40], &[Thyroid]),
    condition(
        "N18.30",
        "Chronic kidney disease, stage 3 unspecified",
        [0, 8, 50, 200],
        [105, 95],
        &[Metabolic, BloodCount],
    ),
    condition(
        "I25.10",
        "Atherosclerotic heart disease of native coronary artery without angina pectoris",
        [0, 6, 60, 200],
        [70, 130],
        &[Lipids, Metabolic],
    ),
    condition("I48.91", "Unspecified atrial fibrillation", [0, 4, 20, 95], [90, 110], &[Clotting]),
    condition(
        "J44.9",
        "Chronic obstructive pulmonary disease, unspecified",
        [0, 8, 60, 120],
        [105, 95],
        &[Spirometry],
    ),
    condition(
        "N40.1",
        "Benign prostatic hyperplasia with lower urinary tract symptoms",
        [0, 2, 150, 420],
        [0, 100],
        &[Prostate],
    ),
    condition(
        "M81.0",
        "Age-related osteoporosis without current pathological fracture",
        [0, 0, 50, 200],
        [165, 35],
        &[BoneDensity],
    ),
    condition(
        "Z33.1",
        "Pregnant state, incidental",
        [4, 130, 6, 0],
        [100, 0],
        &[Pregnancy, BloodCount],
    ),
    condition(
        "J06.9",
        "Acute upper respiratory infection, unspecified",
        [300, 150, 100, 80],
        [100, 100],
        &[],
    ),
    condition("H66.90", "Otitis media, unspecified", [250, 20, 10, 10], [100, 100], &[]),
    condition(
        "F90.9",
        "Attention-deficit hyperactivity disorder, unspecified type",
        [100, 50, 20, 5],
        [60, 140],
        &[],
    ),
    condition("G43.909", "Migraine, unspecified", [50, 150, 140, 60], [145, 55], &[]),
    sensitive(
        "B20",
        "Human immunodeficiency virus [HIV] disease",
        [1, 8, 12, 4],
        [50, 150],
        &[Retroviral, BloodCount],
    ),
    sensitive(
        "F11.20",
        "Opioid dependence, uncomplicated",
        [1, 25, 20, 6],
        [80, 120],
        &[DrugScreen],
    ),
    sensitive(
        "F10.20",
        "Alcohol dependence, uncomplicated",
        [2, 50, 50, 20],
        [65, 135],
        &[DrugScreen, Metabolic],
    ),
    sensitive("F20.9", "Schizophrenia, unspecified", [1, 8, 8, 4], [85, 115], &[]),
    sensitive(
        "A56.2",
        "Chlamydial infection of genitourinary tract, unspecified",
        [10, 30, 4, 0],
        [120, 80],
        &[],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_skewed_as_populations_are_and_name_nothing_twice() {
        for table in [FAMILIES, WOMEN, MEN] {
            assert!(table.windows(2).all(|pair| pair[0].1 >= pair[1].1));
        }
        let mut codes: Vec<&str> = CONDITIONS.iter().map(|condition| condition.code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), CONDITIONS.len());
        assert_eq!(VITALS.len(), VITALS_PERCENT.len());
        assert!(CONDITIONS.iter().filter(|condition| condition.sensitive).count() > 3);
    }
}
