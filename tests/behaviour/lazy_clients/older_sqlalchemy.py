"""One read by SQLAlchemy 1.4, from the folder that it is in: as a connection and as a session wrap it."""

import sys

folder, url, sql, driver = sys.argv[1:]
sys.path.insert(0, folder)

import sqlalchemy  # noqa: E402
from sqlalchemy import orm  # noqa: E402

assert sqlalchemy.__version__.startswith("1.4"), sqlalchemy.__version__

address = sqlalchemy.engine.make_url(url).set(drivername=f"postgresql+{driver}")
arguments = {}
if driver == "pg8000":
    arguments = {"startup_params": {"options": address.query["options"]}}
    address = address.difference_update_query(["options"])
engine = sqlalchemy.create_engine(address, connect_args=arguments, pool_size=1)
with engine.connect() as conn:
    conn.execute(sqlalchemy.text("SELECT 'begun'"))
with engine.connect() as conn:
    found = conn.execute(sqlalchemy.text(sql)).scalar()
with orm.Session(engine) as session:
    assert session.execute(sqlalchemy.text(sql)).scalar() == found
    session.commit()
print(found)
