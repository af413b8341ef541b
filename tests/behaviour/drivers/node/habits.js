// What applications do with node-postgres. Run as: node habits.js NAME; the URL is in DATABASE_URL. Exits with 0 if all is well.
const assert = require('node:assert/strict')
const { Client, Pool } = require('pg')

const connectionString = process.env.DATABASE_URL

async function withClient(work) {
  const client = new Client({ connectionString })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

const habits = {
  simple: () => withClient(async (client) => {
    const { rows } = await client.query('SELECT id, name FROM products WHERE id <= 2 ORDER BY id')
    assert.deepEqual(rows, [{ id: 1, name: 'product 1' }, { id: 2, name: 'product 2' }])
    const several = await client.query("SELECT 1 AS a; SELECT 'two' AS b")
    assert.deepEqual(several.map((each) => each.rows), [[{ a: 1 }], [{ b: 'two' }]])
  }),

  parametrised: () => withClient(async (client) => {
    for (let id = 1; id <= 20; id++) {
      const { rows } = await client.query('SELECT name, price FROM products WHERE id = $1', [id])
      assert.deepEqual(rows, [{ name: `product ${id}`, price: (id * 1.5).toFixed(2) }])
    }
    const { rows } = await client.query('SELECT $1::int[] AS a, $2::jsonb AS j, $3::text AS n, $4::bytea AS b',
      [[1, 2], { x: 'ä' }, null, Buffer.from([0, 255])])
    assert.deepEqual(rows[0], { a: [1, 2], j: { x: 'ä' }, n: null, b: Buffer.from([0, 255]) })
  }),

  named: async () => {
    const clients = [new Client({ connectionString }), new Client({ connectionString })]
    await Promise.all(clients.map((client) => client.connect()))
    for (let round = 1; round <= 10; round++) {
      await Promise.all(clients.map(async (client, number) => {
        // The same name stands for another text at each client.
        const text = number ? 'SELECT $1::text || name AS it FROM users WHERE id = $2' : 'SELECT $2::int * 2 AS it, $1::text AS t'
        const { rows } = await client.query({ name: 'same', text, values: ['x', round] })
        assert.equal(rows[0].it, number ? `xuser ${round}` : round * 2)
      }))
    }
    await Promise.all(clients.map((client) => client.end()))
  },

  transactions: () => withClient(async (client) => {
    await client.query('BEGIN')
    await client.query('UPDATE accounts SET balance = balance - $1 WHERE id = $2', [30, 1])
    await client.query('SAVEPOINT before')
    await assert.rejects(client.query('UPDATE accounts SET balance = -1 WHERE id = $1', [1]), { code: '23514' })
    await client.query('ROLLBACK TO before')
    await client.query('COMMIT')
    await client.query('BEGIN')
    await client.query('DELETE FROM accounts')
    await client.query('ROLLBACK')
    const { rows } = await client.query('SELECT balance FROM accounts WHERE id = 1')
    assert.equal(rows[0].balance, '70.00')
  }),

  pool: async () => {
    const pool = new Pool({ connectionString, max: 8 })
    const asked = Array.from({ length: 200 }, (_, n) => pool.query('SELECT $1::int AS n, pg_sleep(0.001)', [n]))
    const got = (await Promise.all(asked)).map((each) => each.rows[0].n)
    assert.deepEqual(got, Array.from({ length: 200 }, (_, n) => n))
    const client = await pool.connect()
    try {
      await client.query('BEGIN')
      await client.query("INSERT INTO categories VALUES ($1, $2)", [100, 'pooled'])
      await client.query('COMMIT')
    } finally {
      client.release()
    }
    const { rowCount } = await pool.query('DELETE FROM categories WHERE id = $1', [100])
    assert.equal(rowCount, 1)
    await pool.end()
  },

  settings: () => withClient(async (client) => {
    await client.query("SET TIME ZONE 'Europe/Berlin'")
    await client.query("SET statement_timeout = 50")
    await assert.rejects(client.query('SELECT pg_sleep(5)'), { code: '57014' })
    const { rows } = await client.query('SHOW timezone')
    assert.deepEqual(rows, [{ TimeZone: 'Europe/Berlin' }])
  }),

  notifications: () => withClient((listener) => withClient(async (speaker) => {
    const heard = new Promise((resolve) => listener.on('notification', resolve))
    await listener.query('LISTEN till')
    await speaker.query("SELECT pg_notify('till', $1)", ['ring'])
    const { channel, payload } = await heard
    assert.deepEqual([channel, payload], ['till', 'ring'])
    await listener.query('UNLISTEN *')
  })),

  errors: () => withClient(async (client) => {
    const problem = await client.query('SELECT nothing FROM products').catch((error) => error)
    assert.deepEqual([problem.code, problem.position, problem.severity], ['42703', '8', 'ERROR'])
    await assert.rejects(client.query('SELECT $1::int', ['x']), { code: '22P02' })
    await assert.rejects(client.query({ name: 'bad', text: 'SELEC 1' }), { code: '42601' })
    await assert.rejects(client.query('INSERT INTO categories VALUES ($1, $2)', [1, 'again']), { code: '23505', constraint: 'categories_pkey' })
    const notices = []
    client.on('notice', (notice) => notices.push(notice.message))
    await client.query("DO $$ BEGIN RAISE NOTICE 'well'; END $$")
    const { rows } = await client.query('SELECT 1 AS one')
    assert.deepEqual([rows, notices], [[{ one: 1 }], ['well']])
  }),
}

habits[process.argv[2]]().catch((error) => {
  console.error(error)
  process.exit(1)
})
