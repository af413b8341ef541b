import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;

/** Reads one row in a transaction, by the extended protocol as pgjdbc has it. Run as: Read URL SQL WAY. */
public class Read {
    public static void main(String[] arguments) throws Exception {
        try (Connection connection = DriverManager.getConnection(arguments[0])) {
            connection.setAutoCommit(false);
            try (PreparedStatement statement = connection.prepareStatement(arguments[1])) {
                if (arguments[2].equals("max_rows")) {
                    statement.setMaxRows(1);
                }
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    System.out.println(rows.getString(1));
                }
            }
            connection.commit();
        }
    }
}
