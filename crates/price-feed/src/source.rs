//! The public price sources: their addresses and response formats.

use crate::number::{NumberError, price_of, timestamp_of};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use tithe_clock::Timestamp;
use tithe_money::BtcPrice;

/// A publisher of BTC prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Publisher {
    /// Coinbase's spot price.
    Coinbase,
    /// Kraken's last trade.
    Kraken,
    /// Bitstamp's last trade.
    Bitstamp,
    /// Bitfinex's last trade.
    Bitfinex,
    /// Gemini's last trade.
    Gemini,
    /// The price that mempool.space shows.
    MempoolSpace,
    /// `CoinGecko`'s average over many exchanges.
    CoinGecko,
}

impl Publisher {
    /// All publishers.
    pub const ALL: [Self; 7] = [
        Self::Coinbase,
        Self::Kraken,
        Self::Bitstamp,
        Self::Bitfinex,
        Self::Gemini,
        Self::MempoolSpace,
        Self::CoinGecko,
    ];

    /// The name used in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Coinbase => "coinbase",
            Self::Kraken => "kraken",
            Self::Bitstamp => "bitstamp",
            Self::Bitfinex => "bitfinex",
            Self::Gemini => "gemini",
            Self::MempoolSpace => "mempool.space",
            Self::CoinGecko => "coingecko",
        }
    }

    const fn base_url(self) -> &'static str {
        match self {
            Self::Coinbase => "https://api.coinbase.com",
            Self::Kraken => "https://api.kraken.com",
            Self::Bitstamp => "https://www.bitstamp.net",
            Self::Bitfinex => "https://api-pub.bitfinex.com",
            Self::Gemini => "https://api.gemini.com",
            Self::MempoolSpace => "https://mempool.space",
            Self::CoinGecko => "https://api.coingecko.com",
        }
    }

    const fn path_and_query(self) -> &'static str {
        match self {
            Self::Coinbase => "/v2/prices/BTC-USD/spot",
            Self::Kraken => "/0/public/Ticker?pair=XBTUSD",
            Self::Bitstamp => "/api/v2/ticker/btcusd/",
            Self::Bitfinex => "/v2/ticker/tBTCUSD",
            Self::Gemini => "/v1/pubticker/btcusd",
            Self::MempoolSpace => "/api/v1/prices",
            Self::CoinGecko => {
                "/api/v3/simple/price?ids=bitcoin&vs_currencies=usd&include_last_updated_at=true"
            }
        }
    }

    /// Parses a response of this publisher.
    pub(crate) fn read(self, body: &[u8]) -> Result<Answer, AnswerError> {
        match self {
            Self::Coinbase => coinbase(body),
            Self::Kraken => kraken(body),
            Self::Bitstamp => bitstamp(body),
            Self::Bitfinex => bitfinex(body),
            Self::Gemini => gemini(body),
            Self::MempoolSpace => mempool_space(body),
            Self::CoinGecko => coingecko(body),
        }
    }
}

impl fmt::Display for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A publisher and the address of its price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    publisher: Publisher,
    base_url: String,
}

impl Source {
    /// The publisher at its public address.
    #[must_use]
    pub fn of(publisher: Publisher) -> Self {
        Self::at(publisher, publisher.base_url())
    }

    /// The publisher's format at a different address (scheme, host, and a path before the publisher's own), such as a
    /// mirror or a test server.
    #[must_use]
    pub fn at(publisher: Publisher, base_url: impl Into<String>) -> Self {
        Self { publisher, base_url: base_url.into() }
    }

    /// All publishers at their public addresses.
    #[must_use]
    pub fn all() -> Vec<Self> {
        Publisher::ALL.into_iter().map(Self::of).collect()
    }

    /// The publisher.
    #[must_use]
    pub const fn publisher(&self) -> Publisher {
        self.publisher
    }

    pub(crate) fn url(&self) -> String {
        format!("{}{}", self.base_url.trim_end_matches('/'), self.publisher.path_and_query())
    }
}

/// A price reported by a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub price: BtcPrice,
    /// When the price was valid, if the source reports it.
    pub as_of: Option<Timestamp>,
}

/// The reason why a response has no usable price. It never contains the response, which is untrusted and would be
/// logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AnswerError {
    #[error("invalid response: unexpected JSON at line {line}, column {column}")]
    Unexpected { line: usize, column: usize },
    #[error("the response reports an error")]
    Reported,
    #[error("the response has no price")]
    Missing,
    #[error("the response has an invalid price or time")]
    Number(#[from] NumberError),
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, AnswerError> {
    serde_json::from_slice(body)
        .map_err(|error| AnswerError::Unexpected { line: error.line(), column: error.column() })
}

fn answer(price: &RawValue, as_of: Option<Timestamp>) -> Result<Answer, AnswerError> {
    Ok(Answer { price: price_of(price)?, as_of })
}

fn seconds(time: Option<&RawValue>) -> Result<Option<Timestamp>, NumberError> {
    time.map(|time| timestamp_of(time, 1_000_000)).transpose()
}

fn coinbase(body: &[u8]) -> Result<Answer, AnswerError> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        data: Data<'a>,
    }
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        amount: &'a RawValue,
    }
    answer(parse::<Body<'_>>(body)?.data.amount, None)
}

fn kraken(body: &[u8]) -> Result<Answer, AnswerError> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        error: Vec<&'a RawValue>,
        #[serde(borrow, default)]
        result: BTreeMap<Cow<'a, str>, Ticker<'a>>,
    }
    #[derive(Deserialize)]
    struct Ticker<'a> {
        /// The last trade: price, volume.
        #[serde(borrow)]
        c: Vec<&'a RawValue>,
    }
    let body: Body<'_> = parse(body)?;
    if !body.error.is_empty() {
        return Err(AnswerError::Reported);
    }
    // Only one pair was requested; Kraken responds with its own name for it.
    let price = body.result.values().next().and_then(|ticker| ticker.c.first());
    answer(price.ok_or(AnswerError::Missing)?, None)
}

fn bitstamp(body: &[u8]) -> Result<Answer, AnswerError> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        last: &'a RawValue,
        #[serde(borrow)]
        timestamp: Option<&'a RawValue>,
    }
    let body: Body<'_> = parse(body)?;
    answer(body.last, seconds(body.timestamp)?)
}

fn bitfinex(body: &[u8]) -> Result<Answer, AnswerError> {
    // Bid, its size, ask, its size, change, relative change, last price, volume, high, low.
    let fields: Vec<&RawValue> = parse(body)?;
    answer(fields.get(6).ok_or(AnswerError::Missing)?, None)
}

fn gemini(body: &[u8]) -> Result<Answer, AnswerError> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        last: &'a RawValue,
        #[serde(borrow)]
        volume: Option<Volume<'a>>,
    }
    #[derive(Deserialize)]
    struct Volume<'a> {
        #[serde(borrow)]
        timestamp: Option<&'a RawValue>,
    }
    let body: Body<'_> = parse(body)?;
    let milliseconds = body.volume.and_then(|volume| volume.timestamp);
    answer(body.last, milliseconds.map(|time| timestamp_of(time, 1_000)).transpose()?)
}

fn mempool_space(body: &[u8]) -> Result<Answer, AnswerError> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow, rename = "USD")]
        usd: &'a RawValue,
        #[serde(borrow)]
        time: Option<&'a RawValue>,
    }
    let body: Body<'_> = parse(body)?;
    answer(body.usd, seconds(body.time)?)
}

fn coingecko(body: &[u8]) -> Result<Answer, AnswerError> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        bitcoin: Bitcoin<'a>,
    }
    #[derive(Deserialize)]
    struct Bitcoin<'a> {
        #[serde(borrow)]
        usd: &'a RawValue,
        #[serde(borrow)]
        last_updated_at: Option<&'a RawValue>,
    }
    let Body { bitcoin } = parse(body)?;
    answer(bitcoin.usd, seconds(bitcoin.last_updated_at)?)
}

#[cfg(test)]
mod tests;
