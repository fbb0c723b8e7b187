//! Between an application's values and a transaction's bytes.

use bytes::Bytes;

use crate::error::CallbackError;

/// Turns values into a transaction's data, and back.
pub trait Serializer<T>: Send + Sync {
    /// The value as bytes.
    ///
    /// # Errors
    /// When it has no such form.
    fn serialize(&self, value: &T) -> Result<Bytes, CallbackError>;

    /// The value that bytes stand for.
    ///
    /// # Errors
    /// When they stand for none.
    fn deserialize(&self, bytes: &Bytes) -> Result<T, CallbackError>;
}

/// Takes bytes as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RawBytes;

impl Serializer<Bytes> for RawBytes {
    fn serialize(&self, value: &Bytes) -> Result<Bytes, CallbackError> {
        Ok(value.clone())
    }

    fn deserialize(&self, bytes: &Bytes) -> Result<Bytes, CallbackError> {
        Ok(bytes.clone())
    }
}

/// Text as UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Utf8;

impl Serializer<String> for Utf8 {
    fn serialize(&self, value: &String) -> Result<Bytes, CallbackError> {
        Ok(Bytes::copy_from_slice(value.as_bytes()))
    }

    fn deserialize(&self, bytes: &Bytes) -> Result<String, CallbackError> {
        Ok(std::str::from_utf8(bytes)?.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_and_bad_bytes_are_an_error() {
        let text = "grüße".to_owned();
        let bytes = Utf8.serialize(&text).expect("serializes");
        assert_eq!(Utf8.deserialize(&bytes).expect("deserializes"), text);
        assert!(Utf8.deserialize(&Bytes::from_static(&[0xff])).is_err());
        assert_eq!(RawBytes.deserialize(&bytes).expect("any bytes"), bytes);
    }
}
