//! Who is linked and who is missed: by party, date quality, rarity of names, sex and age.

use linkage_cohort::{AgeBand, Rate, RateTable, Sex};
use maud::{Markup, html};

use super::charts::bar;
use super::labels::{self, count, percent};
use super::parts::Shown;
use super::view::{Counts, Group};

/// The tables of rates.
pub fn who_is_missed(shown: &Shown<'_>) -> Markup {
    let linkage = &shown.linkage;
    let minimum = shown.run.found.minimum_cell;
    let share = |part: u64, whole: u64| part as f64 / (whole as f64).max(1.0);
    html! {
        h3 { "Qui est rapproché, qui est manqué" }
        @if let Some(missed) = &shown.run.missed {
            p { "Rappel contre la vérité connue, vu de chaque fiche : parmi les fiches de la même personne "
                @if shown.run.parties.len() == 1 { "dans la même liste" } @else { "chez les autres partenaires" }
                ", la part retrouvée. Une part plus basse pour un groupe fausse les comparaisons entre groupes." }
            (matrix("Rappel par sexe", &missed.by_sex, |g| labels::sex(*g).to_owned(), minimum))
            (matrix("Rappel par âge au premier jour du mois", &missed.by_age, |g| labels::age(*g).to_owned(), minimum))
            (matrix("Rappel par qualité de la date de naissance", &missed.by_date_quality, |g| labels::date_quality(g).to_owned(), minimum))
        }
        div.wide { table {
            caption { "Par partenaire, d'après le courtier, fiches leurres comprises. Les liens manqués sont une estimation : paires trop faibles pour être liées, et paires qui ne se sont jamais rencontrées." }
            thead { tr { th scope="col" { "Partenaire" } th scope="col" { "Fiches" } th scope="col" { "Comparées à une autre" } th scope="col" { "Rapprochées" } th.text scope="col" { "" } th scope="col" { "Dans une paire ouverte" } th scope="col" { "Liens manqués (est.)" } th scope="col" { "Rappel (est.)" } } }
            tbody { @for (name, p) in shown.run.linkage_parties.iter().zip(&linkage.parties) { tr {
                th scope="row" { (name) } td { (count(p.records)) } td { (percent(share(p.met, p.records))) }
                td { (percent(share(p.linked, p.records))) } td.text { (bar(share(p.linked, p.records))) } td { (count(p.abstained)) }
                td { (count(p.missed_pairs.round() as u64)) } td { (labels::optional(recall(p.found_pairs, p.missed_pairs))) }
            } } }
        } }
        (groups("Toutes les fiches, par qualité de la date de naissance, d'après le courtier.", "Date de naissance", &linkage.by_date_quality, minimum, true))
        @if let Some(linked) = &shown.run.linked_rates {
            p { "Part des fiches dont la personne est aussi chez un autre partenaire, d'après les fichiers livrés, que seul cet essai a sous les yeux. Elle dit qui est connu de plusieurs, et non qui est manqué." }
            (matrix("Fiches rapprochées d'un autre partenaire, par sexe", &linked.by_sex, |g: &Sex| labels::sex(*g).to_owned(), minimum))
            (matrix("Fiches rapprochées d'un autre partenaire, par âge au premier jour du mois", &linked.by_age, |g: &AgeBand| labels::age(*g).to_owned(), minimum))
        }
        details { summary { "Par rareté des noms et par qualité de date chez chaque partenaire" }
            (groups("Toutes les fiches, par rareté du plus rare de leurs noms. Ici les liens manqués ne comptent que les paires comparées.", "Rareté (1 à 7)", &linkage.by_rarity, minimum, false))
            @for (name, p) in shown.run.linkage_parties.iter().zip(&linkage.parties) {
                (groups(&format!("{name} : par qualité de la date de naissance."), "Date de naissance", &p.by_date_quality, minimum, true))
            }
        }
    }
}

fn recall(found: f64, missed: f64) -> Option<f64> {
    (found + missed > 0.0).then(|| found / (found + missed))
}

fn groups(caption: &str, heading: &str, groups: &[Group], minimum: u64, with_recall: bool) -> Markup {
    let share = |part: u64, whole: u64| part as f64 / (whole as f64).max(1.0);
    let filled = |g: &&Group| g.counts.is_none_or(|c| c.records > 0);
    let missed = |c: &Counts| c.missed_met_pairs + c.missed_unmet_pairs;
    html! {
        div.wide { table {
            caption { (caption) }
            thead { tr { th scope="col" { (heading) } th scope="col" { "Fiches" } th scope="col" { "Comparées à une autre" } th scope="col" { "Rapprochées" } th.text scope="col" { "" } th scope="col" { "Dans une paire ouverte" } th scope="col" { "Liens manqués (est.)" } @if with_recall { th scope="col" { "Rappel (est.)" } } } }
            tbody { @for g in groups.iter().filter(filled) { tr {
                th scope="row" { (labels::group(&g.group)) }
                @if let Some(c) = &g.counts {
                    td { (count(c.records)) } td { (percent(share(c.met, c.records))) } td { (percent(share(c.linked, c.records))) } td.text { (bar(share(c.linked, c.records))) }
                    td { (count(c.abstained)) } td { (count(missed(c).round() as u64)) } @if with_recall { td { (labels::optional(recall(c.found_pairs, missed(c)))) } }
                } @else {
                    td.secret colspan=(if with_recall { 7 } else { 6 }) { (labels::suppressed(minimum)) }
                }
            } } }
        } }
    }
}

/// A table of rates: parties down, groups across. Columns that are empty throughout are left out.
fn matrix<G>(caption: &str, table: &RateTable<G>, label: impl Fn(&G) -> String, minimum: u64) -> Markup {
    let is_used = |at: usize| table.rows.iter().any(|row| row.groups.get(at).is_some_and(|r| r.is_none_or(|r| r.records > 0)));
    let columns: Vec<(usize, &G)> = table.groups.iter().enumerate().filter(|(at, _)| is_used(*at)).collect();
    // One group is no comparison: files without the field.
    if columns.len() < 2 {
        return html! {};
    }
    let cell = |rate: Option<Rate>| {
        html! { @match rate {
            Some(r) if r.records == 0 => td.secret { "–" },
            Some(r) => td { (percent(r.found as f64 / (r.out_of as f64).max(1.0))) small { (count(r.records)) " fiches" } },
            None => td.secret { (labels::suppressed(minimum)) },
        } }
    };
    html! {
        div.wide { table {
            caption { (caption) }
            thead { tr { th scope="col" { "Partenaire" } @for (_, g) in &columns { th scope="col" { (label(g)) } } th scope="col" { "ensemble" } } }
            tbody { @for row in &table.rows { tr.all[row.party.is_none()] {
                th scope="row" { @if let Some(party) = &row.party { (party.as_str()) } @else { "tous" } }
                @for (at, _) in &columns { (cell(row.groups.get(*at).copied().flatten())) }
                (cell(row.all))
            } } }
        } }
    }
}

/// Groups whose recall lies `gap` or more behind that of all: against the truth where there is one, else as estimated by
/// date quality. With the group's recall and that of all.
pub fn behind(shown: &Shown<'_>, gap: f64) -> Vec<(String, f64, f64)> {
    let mut out = Vec::new();
    if let Some(missed) = &shown.run.missed {
        from_table(&missed.by_sex, |g| labels::sex(*g).to_owned(), gap, &mut out);
        from_table(&missed.by_age, |g| format!("âge : {}", labels::age(*g)), gap, &mut out);
        from_table(&missed.by_date_quality, |g| format!("date {}", labels::date_quality(g)), gap, &mut out);
        for row in missed.by_sex.rows.iter().filter(|row| row.party.is_some()) {
            let all = missed.by_sex.rows.last().and_then(|all| all.all).and_then(ratio);
            let name = row.party.as_ref().map(ToString::to_string).unwrap_or_default();
            note(name, row.all.and_then(ratio), all, gap, &mut out);
        }
    } else {
        let all = shown.linkage.recall.value;
        for group in &shown.linkage.by_date_quality {
            let found = group.counts.and_then(|c| recall(c.found_pairs, c.missed_met_pairs + c.missed_unmet_pairs));
            note(labels::group(&group.group), found, Some(all), gap, &mut out);
        }
    }
    out
}

fn from_table<G>(table: &RateTable<G>, label: impl Fn(&G) -> String, gap: f64, out: &mut Vec<(String, f64, f64)>) {
    let Some(row) = table.rows.last() else { return };
    for (group, rate) in table.groups.iter().zip(&row.groups) {
        note(label(group), rate.and_then(ratio), row.all.and_then(ratio), gap, out);
    }
}

fn note(name: String, group: Option<f64>, all: Option<f64>, gap: f64, out: &mut Vec<(String, f64, f64)>) {
    if let (Some(group), Some(all)) = (group, all)
        && all - group >= gap
    {
        out.push((name, group, all));
    }
}

fn ratio(rate: Rate) -> Option<f64> {
    (rate.out_of > 0).then(|| rate.found as f64 / rate.out_of as f64)
}
