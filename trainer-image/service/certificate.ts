import 'reflect-metadata'
import * as x509 from '@peculiar/x509'

const day = 24 * 60 * 60 * 1000

export interface Certificate {
  readonly certificatePem: Buffer
  readonly privateKeyPem: Buffer
}

/**
 * A self-signed certificate on EC P-256 that lives as long as the process. It encrypts; it does not identify: who may
 * call is decided by the signed token of each call, and what a pod says is never proof.
 */
export async function makeCertificate(commonName: string, now: Date = new Date()): Promise<Certificate> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      name: [{ CN: [commonName] }],
      notBefore: new Date(now.getTime() - day),
      notAfter: new Date(now.getTime() + 3650 * day),
      signingAlgorithm: algorithm,
      keys,
      extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: commonName }])],
    },
    crypto,
  )
  const pkcs8 = await crypto.subtle.exportKey('pkcs8', keys.privateKey)
  return {
    certificatePem: Buffer.from(certificate.toString('pem')),
    privateKeyPem: Buffer.from(x509.PemConverter.encode(pkcs8, 'PRIVATE KEY')),
  }
}
