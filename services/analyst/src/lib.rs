//! The analyst's side: link tables, attributes, cohorts
