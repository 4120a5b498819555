//! Published examples of RFC 7515, RFC 7519 and RFC 8037.

use crate::mint::b64;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt::{Algorithm, Jwks, KeySet, PublicKey, TimeError, Token, TokenError, VerifyError};

/// RFC 7515, appendix A.2.
const RS256_MODULUS: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-\
pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2Ca\
pHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb5\
4h4FRWyuXpoQ";
const RS256_SIGNATURE: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr\
7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--x\
i12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_Ioy\
pGlUPQGe77Rw";
/// RFC 7515, appendix A.3.
const ES256_KEY: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
const ES256_SIGNATURE: &str = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
/// RFC 7515, appendix A.4; its payload is the word `Payload`, so it is no token.
const ES512_KEY: &str = r#"{"kty":"EC","crv":"P-521","x":"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk","y":"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}"#;
const ES512_INPUT: &str = "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA";
const ES512_SIGNATURE: &str = "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJ\
ZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";
/// RFC 8037, appendix A.4; its payload is no JSON either.
const EDDSA_KEY: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
const EDDSA_INPUT: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
const EDDSA_SIGNATURE: &str = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
/// The claims of RFC 7519, section 3.1, as in RFC 7515, appendix A.1.
const CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
/// RFC 7515, appendix A.1: HMAC.
const HS256_SIGNATURE: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

fn rs256_key() -> String {
    format!(r#"{{"kty":"RSA","n":"{RS256_MODULUS}","e":"AQAB"}}"#)
}

fn jwk(json: &str) -> PublicKey {
    let set = Jwks::parse(format!("{{\"keys\":[{json}]}}").as_bytes()).unwrap();
    set.keys.first().unwrap_or_else(|| panic!("{:?}", set.skipped)).key.clone()
}

fn verify(algorithm: Algorithm, key: &str, input: &str, signature: &str) -> bool {
    jwk(key).verify(algorithm, input.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap())
}

#[test]
fn rfc_7515_a2_rs256() {
    let token = Token::parse(&format!("{}.{CLAIMS}.{RS256_SIGNATURE}", b64(r#"{"alg":"RS256"}"#))).unwrap();
    assert_eq!(KeySet::from_keys([jwk(&rs256_key())]).verify(&token), Ok(()));
    assert_eq!(KeySet::from_keys([jwk(ES256_KEY)]).verify(&token), Err(VerifyError::UnknownKey));
}

#[test]
fn rfc_7515_a3_es256() {
    let token = Token::parse(&format!("{}.{CLAIMS}.{ES256_SIGNATURE}", b64(r#"{"alg":"ES256"}"#))).unwrap();
    assert_eq!(KeySet::from_keys([jwk(&rs256_key()), jwk(ES256_KEY)]).verify(&token), Ok(()));
}

#[test]
fn rfc_7515_a4_es512() {
    assert!(verify(Algorithm::Es512, ES512_KEY, ES512_INPUT, ES512_SIGNATURE));
    assert!(!verify(Algorithm::Es512, ES512_KEY, &format!("{ES512_INPUT}A"), ES512_SIGNATURE));
    assert!(!verify(Algorithm::Es256, ES512_KEY, ES512_INPUT, ES512_SIGNATURE));
    assert!(matches!(Token::parse(&format!("{ES512_INPUT}.{ES512_SIGNATURE}")), Err(TokenError::Body(_))));
}

#[test]
fn rfc_7515_a1_hmac_and_a5_none_are_refused() {
    let f = |header: &str, signature: &str| {
        let token = Token::parse(&format!("{}.{CLAIMS}.{signature}", b64(header))).unwrap();
        let keys = KeySet::from_keys([jwk(&rs256_key()), jwk(ES256_KEY), jwk(EDDSA_KEY)]);
        assert_eq!(keys.verify(&token), Err(VerifyError::UnsupportedAlgorithm), "{header}");
    };
    f("{\"typ\":\"JWT\",\r\n \"alg\":\"HS256\"}", HS256_SIGNATURE);
    f(r#"{"alg":"none"}"#, "");
}

#[test]
fn rfc_8037_a4_eddsa() {
    assert!(verify(Algorithm::EdDsa, EDDSA_KEY, EDDSA_INPUT, EDDSA_SIGNATURE));
    assert!(!verify(Algorithm::EdDsa, EDDSA_KEY, &format!("{EDDSA_INPUT}A"), EDDSA_SIGNATURE));
}

#[test]
fn rfc_7519_claims() {
    let token = Token::parse(&format!("{}.{CLAIMS}.", b64("{}"))).unwrap();
    let claims = token.claims();
    assert_eq!(
        (claims.iss(), claims.exp(), claims.nbf(), claims.vm_access()),
        (Some("joe"), Some(1_300_819_380), None, None)
    );
    assert_eq!(claims.check_time(1_300_819_380, 0), Ok(()));
    assert_eq!(claims.check_time(1_300_819_381, 0), Err(TimeError::Expired));
    let path = jwt::ClaimPath::parse(r"http://example\.com/is_root");
    assert!(path.any_value(claims, |value| value == b"true"));
}
