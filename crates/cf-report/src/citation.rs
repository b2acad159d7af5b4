//! How to cite the software and the method, as `CITATION.cff` states it.

/// BibTeX entries of the paper and of the software in the version that made the run.
pub(crate) fn bibtex(software_version: &str) -> String {
    format!(
        "@misc{{soraki2025crossfusion,
  title         = {{CrossFusion: A Multi-Scale Cross-Attention Convolutional Fusion Model for Cancer Survival Prediction}},
  author        = {{Soraki and Wang and Liu and Elmore and Shapiro}},
  year          = {{2025}},
  eprint        = {{2503.02064}},
  archivePrefix = {{arXiv}}
}}

@software{{crossfusion_rs,
  title   = {{CrossFusion-rs}},
  author  = {{{{The CrossFusion-rs contributors}}}},
  version = {{{software_version}}}
}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_says_what_the_citation_file_says() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../CITATION.cff");
        let file = std::fs::read_to_string(path).expect("the file lies at the root of the repository");
        let of = |key: &str| -> Vec<&str> {
            let lines =
                file.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix(key));
            lines.map(|value| value.trim().trim_matches('"')).collect()
        };
        let block = bibtex(of("version:")[0]);
        for key in ["title:", "name:", "version:", "year:", "family-names:"] {
            assert!(!of(key).is_empty(), "{key}");
            for value in of(key) {
                assert!(block.contains(value), "{value}");
            }
        }
        let number =
            of("value:").iter().find_map(|value| value.strip_prefix("arXiv:")).expect("an identifier");
        assert!(block.contains(number), "{number}");
    }
}
