//! Reduces the dictionaries of the tokenizers to what counting needs, and compresses them, so that a program that links this crate is not
//! tens of megabytes larger for them, on disk and in memory.

#[cfg_attr(
    not(feature = "tokenizers"),
    expect(clippy::unnecessary_wraps, reason = "only writing the dictionaries can fail")
)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "tokenizers")]
    dictionaries::write()?;
    Ok(())
}

#[cfg(feature = "tokenizers")]
mod dictionaries {
    use bpe_openai::Tokenizer;
    use bpe_openai::byte_pair_encoding::BytePairEncoding;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use rmpv::Value;
    use std::error::Error;
    use std::fs::File;
    use std::path::{Path, PathBuf};

    /// The number of fields of `BytePairEncoding`.
    const FIELDS: usize = 10;
    const OTHER_LAYOUT: &str = "the bpe crate has another layout than build.rs expects";

    pub fn write() -> Result<(), Box<dyn Error>> {
        let folder = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
        let dictionary = |tokenizer: &'static Tokenizer| &tokenizer.bpe;
        compress(dictionary(bpe_openai::o200k_base()), &folder.join("o200k_base.gz"))?;
        compress(dictionary(bpe_openai::cl100k_base()), &folder.join("cl100k_base.gz"))
    }

    fn compress(dictionary: &BytePairEncoding, path: &Path) -> Result<(), Box<dyn Error>> {
        let mut encoder = GzEncoder::new(File::create(path)?, Compression::best());
        rmpv::encode::write_value(&mut encoder, &for_counting(dictionary)?)?;
        encoder.finish()?;
        Ok(())
    }

    /// The dictionary with two of its three automata replaced by tiny ones. They are two thirds of the memory, and only encoders
    /// that are not used here search with them. Tests compare the counts with those of the whole dictionary.
    fn for_counting(dictionary: &BytePairEncoding) -> Result<Value, Box<dyn Error>> {
        /// The places of `overlapping_searcher` and `overlapping_searcher_rev` among the fields of `BytePairEncoding`.
        const UNUSED: [usize; 2] = [6, 7];
        let mut fields = fields(dictionary)?;
        let tiny =
            self::fields(&BytePairEncoding::from_dictionary((0..=u8::MAX).map(|byte| vec![byte]), None))?;
        for at in UNUSED {
            match (fields.get_mut(at), tiny.get(at)) {
                (Some(whole @ Value::Binary(_)), Some(tiny)) => *whole = tiny.clone(),
                _ => return Err(OTHER_LAYOUT.into()),
            }
        }
        Ok(Value::Array(fields))
    }

    fn fields(dictionary: &BytePairEncoding) -> Result<Vec<Value>, Box<dyn Error>> {
        let written = rmp_serde::to_vec(dictionary)?;
        match rmpv::decode::read_value(&mut written.as_slice())? {
            Value::Array(fields) if fields.len() == FIELDS => Ok(fields),
            _ => Err(OTHER_LAYOUT.into()),
        }
    }
}
