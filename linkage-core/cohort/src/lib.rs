//! Link table to persons, overlaps and cohorts; analyst's side
