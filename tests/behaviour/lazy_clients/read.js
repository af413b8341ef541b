// Reads one row in a transaction. Run as: node read.js URL SQL WAY.
const { Client } = require('pg')

async function main([url, text, way]) {
  const client = new Client({ connectionString: url })
  await client.connect()
  await client.query('BEGIN')
  const { rows } = await client.query(way === 'prepared' ? { text, name: 'one', values: [] } : text)
  console.log(rows[0].name)
  await client.query('COMMIT')
  await client.end()
}

main(process.argv.slice(2))
