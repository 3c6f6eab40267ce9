//! Blocks to comparison, classification, homonyms and clusters; broker's side
