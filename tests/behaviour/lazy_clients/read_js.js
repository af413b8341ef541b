// Reads one row in a transaction by postgres.js. Run as: node read_js.js URL SQL WAY; WAY: with a parameter, unnamed.
const postgres = require('postgres')

async function main([url, text, way]) {
  const sql = postgres(url, { max: 1, fetch_types: false })
  const parameters = way.startsWith('parameter') ? [5] : []
  const prepare = !way.endsWith('unnamed')
  const rows = await sql.begin((sql) => sql.unsafe(text, parameters, { prepare }))
  console.log(rows[0].name)
  await sql.end()
}

main(process.argv.slice(2))
