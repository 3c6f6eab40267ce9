//! The broker: receives encodings, links them in leased steps, forgets them
