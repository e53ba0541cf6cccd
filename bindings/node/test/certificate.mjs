// A certificate for `localhost` that vouches for itself. Node.js makes keys and signatures, but no
// certificates; those few bytes of DER are written here, so that no tool has to be installed.
import { generateKeyPairSync, sign } from "node:crypto";

function der(tag, ...parts) {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size =
    length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

const sequence = (...parts) => der(0x30, ...parts);
const integer = (value) => der(0x02, Buffer.from([value]));
const text = (value) => der(0x0c, Buffer.from(value));
const bits = (value) => der(0x03, Buffer.from([0]), value);
const octets = (value) => der(0x04, value);
const oid = (hex) => der(0x06, Buffer.from(hex, "hex"));

const COMMON_NAME = oid("550403");
const ALTERNATIVE_NAME = oid("551d11");
const ECDSA_WITH_SHA256 = sequence(oid("2a8648ce3d040302"));

/** Key and certificate as PEM. */
export function localhostCertificate() {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const name = sequence(der(0x31, sequence(COMMON_NAME, text("localhost"))));
  const time = (offset) => {
    const stamp = new Date(Date.now() + offset).toISOString().replace(/[-:T]|\.\d+/g, "");
    return der(0x18, Buffer.from(stamp));
  };
  const names = sequence(der(0x82, Buffer.from("localhost")));
  const told = sequence(
    der(0xa0, integer(2)),
    integer(1),
    ECDSA_WITH_SHA256,
    name,
    sequence(time(-3_600_000), time(86_400_000)),
    name,
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, sequence(sequence(ALTERNATIVE_NAME, octets(names)))),
  );
  const signed = sequence(told, ECDSA_WITH_SHA256, bits(sign("sha256", told, privateKey)));
  const lines = signed.toString("base64").replace(/.{64}(?=.)/g, "$&\n");
  return {
    key: privateKey.export({ type: "pkcs8", format: "pem" }),
    cert: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
  };
}
