//! What the page shows of a run's report, read from its JSON: the demonstration has it from the analyst's disk.
//!
//! Figures that a report of an older version does not have are left out, never made up.

use std::collections::BTreeMap;

use linkage_linking::OutsideCounts;
use serde::Deserialize;

#[derive(Debug, Default, Clone, Copy, Deserialize)]
pub struct Estimate {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Linkage {
    pub parties: Vec<Party>,
    pub blocks: Blocks,
    pub candidates: u64,
    pub candidates_within: u64,
    pub non_matching_meetings_per_record: f64,
    pub weights: Vec<Dimension>,
    pub histogram: Vec<Bin>,
    pub clusters: u64,
    pub certain_members: u64,
    pub probable_members: u64,
    pub linked_pairs: u64,
    pub precision: Estimate,
    pub recall: Estimate,
    pub abstained: BTreeMap<String, u64>,
    pub bounds: Option<Bounds>,
    pub patterns: Vec<Waterfall>,
    pub by_date_quality: Vec<Group>,
    pub by_rarity: Vec<Group>,
    pub support: Option<Support>,
    pub reach: Reach,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Party {
    pub records: u64,
    pub met: u64,
    pub linked: u64,
    pub rivals: u64,
    pub abstained: u64,
    pub found_pairs: f64,
    pub missed_pairs: f64,
    pub by_date_quality: Vec<Group>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Blocks {
    pub kept: u64,
    pub dropped: u64,
    pub largest_dropped: u64,
    pub largest_kept: u64,
}

#[derive(Debug, Deserialize)]
pub struct Dimension {
    pub dimension: String,
    pub levels: Vec<Level>,
    pub shipped_share: Option<f64>,
}

#[derive(Debug, Deserialize)]
pub struct Level {
    pub level: String,
    pub m: f64,
    pub u: f64,
    pub weight_bits: f64,
    pub pairs: u64,
}

#[derive(Debug, Deserialize)]
pub struct Bin {
    pub from_bits: i32,
    #[serde(default)]
    pub linked: u64,
    #[serde(default)]
    pub abstained: u64,
    #[serde(default)]
    pub refused: u64,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Bounds {
    pub link_millibits: i32,
    pub abstain_millibits: i32,
}

#[derive(Debug, Deserialize)]
pub struct Waterfall {
    pub example: String,
    pub reason: Option<String>,
    pub pairs: u64,
    pub prior_millibits: i32,
    pub steps: Vec<Step>,
    pub related_millibits: i32,
    pub total_millibits: i32,
}

#[derive(Debug, Deserialize)]
pub struct Step {
    pub dimension: String,
    pub level: String,
    pub millibits: i32,
}

#[derive(Debug, Deserialize)]
pub struct Group {
    pub group: String,
    pub counts: Option<Counts>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Counts {
    pub records: u64,
    pub met: u64,
    pub linked: u64,
    pub abstained: u64,
    pub found_pairs: f64,
    pub missed_met_pairs: f64,
    pub missed_unmet_pairs: f64,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Support {
    pub matches: f64,
    pub shipped_priors_share: f64,
    pub few_pairs: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Reach {
    pub largest_component: u64,
    pub from_20_known: f64,
    pub from_100_known: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Dispositions {
    pub confirmed: u64,
    pub refuted: u64,
    pub refused: u64,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Shift {
    pub before: f64,
    pub now: f64,
}

#[derive(Debug, Deserialize)]
pub struct Drift {
    pub previous_run: String,
    pub previous_period: String,
    pub dimensions: Vec<DimensionDrift>,
    pub parties: Vec<PartyDrift>,
    pub matches_per_record: Shift,
    pub precision: Shift,
    pub recall: Shift,
    pub dropped_share: Shift,
    pub flags: Vec<Flag>,
}

#[derive(Debug, Deserialize)]
pub struct DimensionDrift {
    pub dimension: String,
    pub total_variation: f64,
    pub psi: f64,
    pub psi_threshold: f64,
    pub moved_level: String,
    pub moved_m: Shift,
}

#[derive(Debug, Deserialize)]
pub struct PartyDrift {
    pub party: String,
    pub records: Shift,
    pub linked_share: Shift,
}

#[derive(Debug, Deserialize)]
pub struct Flag {
    pub kind: String,
    pub subject: String,
    pub level: String,
    pub shift: Shift,
    pub threshold: f64,
}

/// What the broker says of parties that deliver no names.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Outside {
    pub profiles: BTreeMap<String, String>,
    pub threshold_permille: Option<u32>,
    pub margin_permille: Option<u32>,
    pub diffusion: Option<u32>,
    pub keyed: Option<bool>,
    pub risk_accepted: bool,
    pub risk: Risk,
    pub pairs: Vec<OutsideCounts>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(default)]
pub struct Risk {
    pub clk_others_reidentified: Option<[f64; 2]>,
    pub keys_read_back_in_10_s: Option<f64>,
}
